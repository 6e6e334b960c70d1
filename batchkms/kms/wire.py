"""Names on the wire of Tencent Cloud API 3.0, shared by the client and the emulator."""

SERVICE = "kms"
VERSION = "2019-01-18"
ALGORITHM = "TC3-HMAC-SHA256"

HEADER_ACTION = "X-TC-Action"
HEADER_VERSION = "X-TC-Version"
HEADER_TIMESTAMP = "X-TC-Timestamp"
HEADER_REGION = "X-TC-Region"
HEADER_TOKEN = "X-TC-Token"  # noqa: S105 - the header's name, not a token
HEADER_LANGUAGE = "X-TC-Language"

CONTENT_TYPE = "application/json"
FORM_CONTENT_TYPE = "application/x-www-form-urlencoded"

MAX_REQUEST_BYTES = 10 * 1024 * 1024
"""The largest TC3 POST body that the gateway takes (documentation 1278/46710)."""
