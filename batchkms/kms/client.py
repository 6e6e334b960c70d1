"""A KMS client: one coroutine per action, one call per coroutine, nothing repeated.

    async with KmsClient(region="ap-guangzhou") as kms:
        answer = await kms.encrypt("5a7f…", b"secret")

Retrying is the caller's matter: every error carries a verdict that says whether it can help.
"""

from __future__ import annotations

import hashlib
import re
import time
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec
import orjson

from batchkms._version import __version__
from batchkms.errors import VERDICTS, KmsError, ProtocolError, ServiceError
from batchkms.kms.credentials import CredentialSource, find_credentials
from batchkms.kms.requestids import RequestIds
from batchkms.kms.scrub import holds, scrub
from batchkms.kms.signing import RequestSigner
from batchkms.kms.transport import AiohttpTransport, Answer, Endpoint, Transport, parse_endpoint
from batchkms.kms.wire import (
    CONTENT_TYPE,
    HEADER_ACTION,
    HEADER_LANGUAGE,
    HEADER_REGION,
    HEADER_TIMESTAMP,
    HEADER_TOKEN,
    HEADER_VERSION,
    VERSION,
)

DEFAULT_ENDPOINT = "https://kms.tencentcloudapi.com"


class Encrypted(msgspec.Struct, frozen=True):
    """What Encrypt answers. `ciphertext_blob` is an opaque ASCII string, not base64."""

    ciphertext_blob: str
    key_id: str
    request_id: str


class Decrypted(msgspec.Struct, frozen=True):
    """What Decrypt answers."""

    plaintext: bytes
    key_id: str
    request_id: str

    def __repr__(self) -> str:
        return f"Decrypted(plaintext=<{len(self.plaintext)} bytes>, key_id={self.key_id!r})"


class Reencrypted(msgspec.Struct, frozen=True):
    """What ReEncrypt answers. `reencrypted` is false where the blob came back as it was."""

    ciphertext_blob: str
    key_id: str
    source_key_id: str
    reencrypted: bool
    request_id: str


class DataKey(msgspec.Struct, frozen=True):
    """What GenerateDataKey answers: a key, and the same encrypted under the CMK."""

    plaintext: bytes
    ciphertext_blob: str
    key_id: str
    request_id: str

    def __repr__(self) -> str:
        return f"DataKey(plaintext=<{len(self.plaintext)} bytes>, key_id={self.key_id!r})"


class KmsClient:
    """A client of one endpoint and region.

    `endpoint` is a URL (default: the service's nearest access point). `credentials` is any
    `CredentialSource`; by default they are looked for as `find_credentials` says. Raises
    ConfigError for an endpoint or a CA file that cannot be used.
    """

    def __init__(
        self,
        *,
        region: str,
        endpoint: str | Endpoint = DEFAULT_ENDPOINT,
        credentials: CredentialSource | None = None,
        transport: Transport | None = None,
        ca_file: str | None = None,
        proxy: str | None = None,
        connect_timeout_s: float = 3.0,
        timeout_s: float = 10.0,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        target = parse_endpoint(endpoint) if isinstance(endpoint, str) else endpoint
        self._credentials = credentials or find_credentials()
        self._signer = RequestSigner(host=target.host)
        self._transport = transport or AiohttpTransport(
            target,
            ca_file=ca_file,
            proxy=proxy,
            connect_timeout_s=connect_timeout_s,
            timeout_s=timeout_s,
        )
        self._wall_clock = wall_clock
        self._request_ids = RequestIds()
        self._constant_headers = {
            "Host": target.host,
            "Content-Type": CONTENT_TYPE,
            "User-Agent": f"batchkms/{__version__}",
            HEADER_VERSION: VERSION,
            HEADER_REGION: region,
            HEADER_LANGUAGE: "en-US",
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections and whatever the credentials need."""
        await self._transport.aclose()
        await self._credentials.aclose()

    async def encrypt(
        self, key_id: str, plaintext: bytes, *, encryption_context: str | None = None
    ) -> Encrypted:
        """Encrypts up to 4,096 bytes under a CMK.

        `encryption_context` is the exact JSON string to bind (up to 1,024 characters); the
        same string is needed to decrypt. Raises KmsError; an answer for another CMK than
        `key_id` is a ProtocolError `WrongKeyId`.
        """
        parameters = {"KeyId": key_id, "Plaintext": b64encode(plaintext).decode()}
        if encryption_context is not None:
            parameters["EncryptionContext"] = encryption_context
        try:
            answer = await self.call("Encrypt", parameters)
        except ServiceError as error:
            # The service may quote what it refuses, and all of it may be logged anywhere.
            raise _without_secret(error, plaintext) from None
        request_id = answer["RequestId"]
        blob = answer.get("CiphertextBlob")
        if _echoes(f"{request_id} {blob}", plaintext, parameters["Plaintext"]):
            raise ProtocolError(
                "EchoedPlaintext",
                "the answer repeats the plaintext where a ciphertext should be",
                hint="the endpoint is no KMS: check --endpoint",
            )
        return Encrypted(_blob(answer), _same_key(answer, key_id), request_id)

    async def decrypt(
        self, ciphertext_blob: str, *, encryption_context: str | None = None
    ) -> Decrypted:
        """Decrypts a ciphertext blob; the service finds the CMK in it. Raises KmsError."""
        parameters = {"CiphertextBlob": ciphertext_blob}
        if encryption_context is not None:
            parameters["EncryptionContext"] = encryption_context
        answer = await self.call("Decrypt", parameters)
        key_id = answer.get("KeyId")
        if not isinstance(key_id, str):
            raise ProtocolError(
                "InvalidAnswer", "the answer has no KeyId", request_id=answer["RequestId"]
            )
        return Decrypted(_plaintext(answer), key_id, answer["RequestId"])

    async def reencrypt(
        self,
        ciphertext_blob: str,
        *,
        destination_key_id: str | None = None,
        source_context: str | None = None,
        destination_context: str | None = None,
    ) -> Reencrypted:
        """Moves a ciphertext blob to another CMK, or to the newest version of its own.

        The plaintext stays in the service. Raises KmsError; an answer for another CMK than
        `destination_key_id` is a ProtocolError `WrongKeyId`.
        """
        given = {
            "CiphertextBlob": ciphertext_blob,
            "DestinationKeyId": destination_key_id,
            "SourceEncryptionContext": source_context,
            "DestinationEncryptionContext": destination_context,
        }
        answer = await self.call(
            "ReEncrypt", {name: value for name, value in given.items() if value is not None}
        )
        blob, request_id = _blob(answer), answer["RequestId"]
        key_id, source_key_id = answer.get("KeyId"), answer.get("SourceKeyId")
        moved = answer.get("ReEncrypted")
        if (
            not (isinstance(key_id, str) and isinstance(source_key_id, str))
            or type(moved) is not bool
        ):
            raise ProtocolError(
                "InvalidAnswer",
                "the answer lacks KeyId, SourceKeyId or ReEncrypted",
                request_id=request_id,
            )
        if destination_key_id is not None:
            key_id = _same_key(answer, destination_key_id)
        return Reencrypted(blob, key_id, source_key_id, moved, request_id)

    async def generate_data_key(
        self, key_id: str, *, encryption_context: str | None = None
    ) -> DataKey:
        """A new 256-bit data key, and the same encrypted under a CMK. Raises KmsError.

        The same context is needed to decrypt it.
        """
        parameters = {"KeyId": key_id, "KeySpec": "AES_256"}
        if encryption_context is not None:
            parameters["EncryptionContext"] = encryption_context
        answer = await self.call("GenerateDataKey", parameters)
        plaintext = _plaintext(answer)
        if len(plaintext) != 32:
            raise ProtocolError(
                "InvalidAnswer",
                "the answer has no data key of 256 bits",
                request_id=answer["RequestId"],
            )
        return DataKey(plaintext, _blob(answer), _same_key(answer, key_id), answer["RequestId"])

    async def describe_key(self, key_id: str) -> dict[str, Any]:
        """The CMK's KeyMetadata as the service gives it (KeyState, Alias, …). Raises KmsError."""
        answer = await self.call("DescribeKey", {"KeyId": key_id})
        metadata = answer.get("KeyMetadata")
        if not isinstance(metadata, dict):
            raise ProtocolError(
                "InvalidAnswer", "the answer has no KeyMetadata", request_id=answer["RequestId"]
            )
        return metadata

    async def describe_keys(self, key_ids: Sequence[str]) -> list[dict[str, Any]]:
        """The KeyMetadata of up to 100 different CMKs, as the service gives it. Raises KmsError.

        One key that does not exist or may not be seen refuses the whole call. Whether the
        service keeps the order, or always names every key, is documented nowhere.
        """
        answer = await self.call("DescribeKeys", {"KeyIds": list(key_ids)})
        metadatas = answer.get("KeyMetadatas")
        if not isinstance(metadatas, list) or not all(isinstance(each, dict) for each in metadatas):
            raise ProtocolError(
                "InvalidAnswer", "the answer has no KeyMetadatas", request_id=answer["RequestId"]
            )
        return metadatas

    async def get_service_status(self) -> dict[str, Any]:
        """What the account has bought: QpsLimit, RegionsQps, CmkLimit, …. Raises KmsError."""
        return await self.call("GetServiceStatus", {})

    async def call(self, action: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Any action: its `Response` object, with a valid RequestId. Raises KmsError."""
        body = orjson.dumps(parameters)
        credentials = await self._credentials.credentials()
        timestamp_s = int(self._wall_clock())
        headers = {
            **self._constant_headers,
            HEADER_ACTION: action,
            HEADER_TIMESTAMP: str(timestamp_s),
            "Authorization": self._signer.authorization(
                credentials.secret_id,
                credentials.secret_key,
                timestamp_s,
                hashlib.sha256(body).hexdigest(),
            ),
        }
        if credentials.token:
            headers[HEADER_TOKEN] = credentials.token
        try:
            return await self._transport.post(headers, body, self._answered)
        except ServiceError as error:
            if not credentials.token:
                raise
            # All that is sent of the credentials; the key never leaves.
            raise _without_secret(error, credentials.token.encode()) from None

    def _answered(self, answer: Answer) -> dict[str, Any]:
        response = _response(answer)
        if not self._request_ids.is_new(response["RequestId"]):
            raise ProtocolError(
                "RepeatedRequestId", "the answer has the RequestId of an earlier one"
            )
        return _without_error(answer, response)


def _blob(answer: dict[str, Any]) -> str:
    """The CiphertextBlob of an answer. Raises ProtocolError."""
    blob = answer.get("CiphertextBlob")
    if not isinstance(blob, str) or not _BLOB.fullmatch(blob):
        raise ProtocolError(
            "MissingCiphertext",
            "the answer has no usable CiphertextBlob",
            request_id=answer["RequestId"],
        )
    return blob


def _same_key(answer: dict[str, Any], key_id: str) -> str:
    """The KeyId of an answer, which must be the one asked for. Raises ProtocolError."""
    answered = answer.get("KeyId")
    if not isinstance(answered, str) or answered.lower() != key_id.lower():
        raise ProtocolError(
            "WrongKeyId",
            "the answer names another CMK than the one asked for",
            request_id=answer["RequestId"],
            hint="the ciphertext was not kept; report the request id to the service",
        )
    return answered


def _plaintext(answer: dict[str, Any]) -> bytes:
    """The Plaintext of an answer. Raises ProtocolError."""
    try:
        return a2b_base64(answer["Plaintext"], strict_mode=True)
    except (KeyError, TypeError, ValueError, Base64Error):
        raise ProtocolError(
            "InvalidAnswer", "the answer has no usable Plaintext", request_id=answer["RequestId"]
        ) from None


def _echoes(text: str, plaintext: bytes, encoded: str) -> bool:
    """Whether an answer holds the plaintext itself. Cheap: it is asked for every row.

    Below six bytes a plaintext may be in a ciphertext by chance.
    """
    if len(plaintext) < 6:
        return False
    forms = (encoded.rstrip("="), plaintext.hex(), plaintext.decode("latin-1"))
    return any(form in text for form in forms)


def _without_secret(error: ServiceError, secret: bytes) -> KmsError:
    """The error without anything in it of what was sent and is secret."""
    if holds(f"{error.code} {error.request_id}", secret):
        return ProtocolError(
            "EchoedPlaintext", "the error's code or RequestId repeats a secret that was sent"
        )
    return error.saying(scrub(error.message, secret))


def parse_answer(answer: Answer) -> dict[str, Any]:
    """The `Response` object of an answer.

    Raises ServiceError for an error of the service, which comes with HTTP 200 as a rule, and
    ProtocolError for anything that is no valid answer. A valid error in the body of another
    status is believed, as the vendor's Go client does.
    """
    return _without_error(answer, _response(answer))


def _response(answer: Answer) -> dict[str, Any]:
    """The `Response` object, an error too, with a valid RequestId."""
    response = _response_object(answer.body)
    if response is None:
        if answer.status != 200:
            raise _http_error(answer.status)
        raise _no_response(answer.body)
    request_id = response.get("RequestId")
    if not isinstance(request_id, str) or not _REQUEST_ID.fullmatch(request_id):
        if answer.status != 200:
            raise _http_error(answer.status)
        raise ProtocolError("InvalidRequestId", "the answer has no valid RequestId")
    return response


def _without_error(answer: Answer, response: dict[str, Any]) -> dict[str, Any]:
    error = response.get("Error")
    if error is not None:
        raise _service_error(error, response["RequestId"])
    if answer.status != 200:
        raise _http_error(answer.status)
    return response


def _response_object(body: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    response = document.get("Response") if isinstance(document, dict) else None
    return response if isinstance(response, dict) else None


def _no_response(body: bytes) -> ProtocolError:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return ProtocolError("NotJson", f"the answer ({len(body):,} bytes) is no JSON")
    return ProtocolError("NoResponse", "the answer has no Response object")


def _service_error(error: Any, request_id: str) -> ServiceError | ProtocolError:
    code = error.get("Code") if isinstance(error, dict) else None
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        return ProtocolError("InvalidAnswer", "the Error has no valid Code", request_id=request_id)
    message = str(error.get("Message") or "")
    # A region that is none concerns the whole run, though its code is one for bad values.
    wrong_region = code == "InvalidParameterValue" and HEADER_REGION in message
    verdict = VERDICTS["UnsupportedRegion"] if wrong_region else None
    return ServiceError(code, message, request_id=request_id, verdict=verdict)


def _http_error(status: int) -> ProtocolError | ServiceError:
    if 300 <= status < 400:
        return ProtocolError(
            "Redirect",
            f"the endpoint answered with a redirect (HTTP {status}), which is never followed",
            hint="check --endpoint: a KMS endpoint does not redirect",
        )
    code = f"Http{status}"
    if code not in VERDICTS:
        code = "Http5xx" if status >= 500 else "HttpStatus"
    return ServiceError(code, f"the endpoint answered with HTTP status {status}")


# The shape of a blob is nowhere documented, so only what no blob can hold is refused.
_BLOB = re.compile(r"[A-Za-z0-9+/=_.:-]+")

# CamelCase names with dots between them, in the documentation and in the SDK's list.
_CODE = re.compile(r"(?=.{1,128}\Z)[A-Za-z0-9]+(\.[A-Za-z0-9]+)*")

# A UUID in every published example; the documentation promises no more than an id.
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
