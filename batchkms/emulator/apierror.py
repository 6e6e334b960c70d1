"""The errors that the emulator answers with, under the service's codes and texts.

Texts of the gateway's own errors are the real ones where they are known. The texts of the KMS
codes are the descriptions in the vendor's documentation: the real texts are not published.
"""

from __future__ import annotations


class ApiError(Exception):
    """A call is answered with this error; `code` and `message` go into the envelope."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message


THROTTLED = "RequestLimitExceeded"

_TEXTS = {
    "AuthFailure.SignatureFailure": "The provided credentials could not be validated. "
    "Please check your signature is correct.",
    "AuthFailure.SignatureExpire": "The signature is expired, please request again.",
    "AuthFailure.SecretIdNotFound": "The SecretId is not found, "
    "please ensure that your SecretId is correct.",
    "AuthFailure.TokenFailure": "Token error.",
    "InternalError": "An internal error occurred.",
    "InvalidAction": "The request `Action` is invalid or not found.",
    "InvalidParameterValue.AliasAlreadyExists": "The alias already exists.",
    "InvalidParameterValue.InvalidAlias": "Invalid alias.",
    "InvalidParameterValue.InvalidCiphertext": "The ciphertext is in incorrect format.",
    "InvalidParameterValue.InvalidHsmClusterId": "Invalid HsmClusterId.",
    "InvalidParameterValue.InvalidKeyId": "Invalid KeyId.",
    "InvalidParameterValue.InvalidKeyUsage": "Incorrect KeyUsage parameter.",
    "InvalidParameterValue.InvalidPlaintext": "Invalid plaintext.",
    "InvalidParameterValue.InvalidType": "Incorrect Type parameter.",
    "LimitExceeded.CmkLimitExceeded": "The number of CMKs has reached the upper limit.",
    "NoSuchVersion": "The request `Version` is invalid or not found.",
    "RequestSizeLimitExceeded": "The request size exceeds the upper limit.",
    "ResourceUnavailable.CmkArchived": "The CMK has been archived.",
    "ResourceUnavailable.CmkDisabled": "The CMK has been disabled.",
    "ResourceUnavailable.CmkNotFound": "The CMK does not exist.",
    "ResourceUnavailable.CmkStateNotSupport": "The CMK state does not support this operation.",
    "UnsupportedOperation.NotRoleOperation": "You do not have permission to perform "
    "this operation.",
    "UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion": "The key usage is not supported "
    "in the current region.",
    "UnsupportedProtocol": "The request protocol is not supported: POST application/json to /.",
    "UnsupportedRegion": "The request `Region` is not served by this emulator.",
}


def api_error(code: str) -> ApiError:
    """The error of this code with its usual text, or with a plain one where none is known."""
    return ApiError(code, _TEXTS.get(code, f"The call failed with {code}."))


def missing_header(name: str) -> ApiError:
    """A common parameter that has to be a header is not there."""
    return ApiError(
        "MissingParameter",
        f"The request header is missing a required common parameter `{name}`.",
    )


def missing_parameter(name: str) -> ApiError:
    """The body lacks a parameter that the action requires."""
    return ApiError("MissingParameter", f"The request is missing a required parameter `{name}`.")


def unknown_parameter(name: str) -> ApiError:
    """The body has a parameter that the action does not know: an error, not ignored."""
    return ApiError("UnknownParameter", f"The parameter `{name[:100]}` is not recognized.")


def wrong_type(name: str) -> ApiError:
    """A parameter is of another JSON type than the action's."""
    return ApiError("InvalidParameter", f"The value type of parameter `{name}` is not valid.")


def bad_format(name: str) -> ApiError:
    """A parameter has the right type and a value that cannot be."""
    return ApiError("InvalidParameter", f"Parameter `{name}` format invalid.")


def bad_json(name: str) -> ApiError:
    """A parameter should hold JSON of a certain shape and does not."""
    return ApiError("InvalidParameter", f"Parameter `{name}` invalid json format.")


def body_not_json() -> ApiError:
    """The body is no JSON object."""
    return ApiError(
        "InvalidParameter",
        "The request content not valid json format for specified content-type=application/json.",
    )


def bad_header_value(name: str) -> ApiError:
    """A common parameter in the header has a value that the gateway does not know."""
    return ApiError(
        "InvalidParameterValue",
        f"A value specified in `{name}` is not valid, is unsupported, or cannot be used.",
    )


def bad_content_sha256() -> ApiError:
    """`X-TC-Content-SHA256` is not the hash of the body."""
    return ApiError(
        "InvalidParameterValue", "The value specified in `X-TC-Content-SHA256` is not correct."
    )


def bad_authorization(part: str | None = None) -> ApiError:
    """The Authorization header is malformed; `part` says where, as the gateway does."""
    detail = f": {part} not valid." if part else "."
    return ApiError(
        "AuthFailure.InvalidAuthorization",
        "The request `Authorization` header does not conform to tencentcloud standards" + detail,
    )


def throttled(calls: int, limit: int) -> ApiError:
    """More calls than the quota allows; `calls` counts this one and others refused lately."""
    return ApiError(
        THROTTLED,
        f"Your current request times equals to `{calls}` in a second, which exceeds the frequency "
        f"limit `{limit}` for a second. Please reduce the frequency of calls.",
    )


def unsupported(message: str) -> ApiError:
    """The service could do this, and the emulator says openly that it does not."""
    return ApiError("UnsupportedOperation", message)
