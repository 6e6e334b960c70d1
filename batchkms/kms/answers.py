"""What the service answers: the value of each action, and what is no valid answer."""

from __future__ import annotations

import re
import string
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from batchkms.errors import VERDICTS, KmsError, ProtocolError, ServiceError
from batchkms.kms.scrub import holds, long_forms, piece_in, scrub
from batchkms.kms.transport import Answer
from batchkms.kms.wire import HEADER_REGION


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


def blob_of(answer: dict[str, Any]) -> str:
    """The CiphertextBlob of an answer. Raises ProtocolError."""
    blob = answer.get("CiphertextBlob")
    # A blob may be of 6,000 characters: no regular expression looks at them as fast.
    if (
        not isinstance(blob, str)
        or not blob
        or not blob.isascii()
        or blob.encode().translate(None, _IN_BLOBS)
    ):
        raise ProtocolError(
            "MissingCiphertext",
            "the answer has no usable CiphertextBlob",
            request_id=answer["RequestId"],
        )
    return blob


def key_id_of(answer: dict[str, Any], name: str = "KeyId") -> str:
    """A key id that an answer names, as the results may show it. Raises ProtocolError."""
    key_id = answer.get(name)
    if not isinstance(key_id, str) or not _KEY_ID.fullmatch(key_id):
        raise ProtocolError(
            "InvalidAnswer", f"the answer has no usable {name}", request_id=answer["RequestId"]
        )
    return key_id


def same_key(answer: dict[str, Any], key_id: str) -> str:
    """The KeyId of an answer, which must be the one asked for. Raises ProtocolError."""
    answered = answer.get("KeyId")
    if answered == key_id:
        return key_id
    # Other letters than those of ASCII may be the same in lower case.
    usable = isinstance(answered, str) and _KEY_ID.fullmatch(answered)
    if not isinstance(answered, str) or not usable or answered.lower() != key_id.lower():
        raise ProtocolError(
            "WrongKeyId",
            "the answer names another CMK than the one asked for",
            request_id=answer["RequestId"],
            hint="the ciphertext was not kept; report the request id to the service",
        )
    return answered


def plaintext_of(answer: dict[str, Any]) -> bytes:
    """The Plaintext of an answer. Raises ProtocolError."""
    try:
        return a2b_base64(answer["Plaintext"], strict_mode=True)
    except (KeyError, TypeError, ValueError, Base64Error):
        raise ProtocolError(
            "InvalidAnswer", "the answer has no usable Plaintext", request_id=answer["RequestId"]
        ) from None


def refuse_echo(
    answer: dict[str, Any], plaintext: bytes, encoded: str, *, of_key: bool = True
) -> None:
    """Raises ProtocolError if what is kept of an answer holds the plaintext, encoded in base64.

    `of_key` says that its KeyId is kept too.
    """
    request_id, blob = answer["RequestId"], answer.get("CiphertextBlob")
    text = f"{request_id} {blob}" if isinstance(blob, str) else request_id
    key_id = answer.get("KeyId") if of_key else None
    # The plaintext may well be the id of a CMK, and a UUID has no room for another secret.
    if isinstance(key_id, str) and not _UUID.fullmatch(key_id):
        text = f"{text} {key_id}"
    if echoes(text, plaintext, encoded) or _holds_piece(request_id, plaintext):
        raise ProtocolError(
            "EchoedPlaintext",
            "the answer repeats the plaintext where a ciphertext should be",
            hint="the endpoint is no KMS: check --endpoint",
        )


def echoes(text: str, plaintext: bytes, encoded: str) -> bool:
    """Whether an answer holds the plaintext itself. Cheap: it is asked for every row.

    Below six bytes a plaintext may be in a ciphertext by chance.
    """
    if len(plaintext) < 6:
        return False
    size = len(plaintext) * 8
    standard = text.replace("-", "+").replace("_", "/")
    # In base64, the characters that do not depend on what stands around the plaintext. To look
    # for a long text takes its time, and the end of it is hardly ever there.
    form = encoded[: size // 6]
    if form[-16:] in standard and form in standard:
        return True
    form = b2a_base64(b"\0" + plaintext)[2 : (size + 8) // 6].decode()
    if form[-16:] in standard and form in standard:
        return True
    form = b2a_base64(b"\0\0" + plaintext)[3 : (size + 16) // 6].decode()
    if form[-16:] in standard and form in standard:
        return True
    form = plaintext.decode("latin-1")
    if form[-16:] in text and form in text:
        return True
    form = plaintext.hex()
    return form[-16:] in (lower := text.lower()) and form in lower


def without_secret(error: KmsError, secret: bytes) -> KmsError:
    """The error without anything in it of what is secret."""
    # A code that is known is the service's own word, and its letters may be in any plaintext.
    code = "" if error.code in VERDICTS else error.code
    # What is known of a longer code is the service's own word as well.
    family, _, rest = code.partition(".")
    unsure = rest if family in VERDICTS else code
    request_id = error.request_id or ""
    if (
        holds(code, secret)
        or holds(request_id, secret)
        or piece_in(unsure, _forms_for(unsure, secret))
        or _holds_piece(request_id, secret)
    ):
        return ProtocolError(
            "EchoedPlaintext", "the error's code or RequestId repeats a secret that was sent"
        )
    return error.saying(scrub(error.message, secret))


def _holds_piece(request_id: str, secret: bytes) -> bool:
    """Whether a RequestId that is no UUID holds a piece of the secret."""
    if _UUID.fullmatch(request_id):
        return False
    return piece_in(request_id, _forms_for(request_id, secret))


def _forms_for(text: str, secret: bytes) -> list[str]:
    # To write them all takes its time, and nearly no text is long enough to hold a piece.
    return long_forms(secret) if len(text) >= 12 else []


def refuse_token(answer: dict[str, Any], forms: Sequence[str]) -> None:
    """Raises ProtocolError if an answer holds one of the written forms of the session token.

    What it says is the plaintext may be anything, also that.
    """
    told = {name: value for name, value in answer.items() if name != "Plaintext"}
    try:
        text = orjson.dumps(told).decode()
    except orjson.JSONEncodeError:
        raise ProtocolError("InvalidAnswer", "the answer is nested too deeply") from None
    request_id = answer["RequestId"]
    in_pieces = not _UUID.fullmatch(request_id) and piece_in(request_id, forms)
    if in_pieces or any(form in text for form in forms):
        raise ProtocolError(
            "EchoedPlaintext",
            "the answer repeats the session token that was sent",
            hint="the endpoint is no KMS: check --endpoint",
        )


def parse_answer(answer: Answer) -> dict[str, Any]:
    """The `Response` object of an answer.

    Raises ServiceError for an error of the service, which comes with HTTP 200 as a rule, and
    ProtocolError for anything that is no valid answer. A valid error in the body of another
    status is believed, as the vendor's Go client does.
    """
    return without_error(answer, response_of(answer))


def response_of(answer: Answer) -> dict[str, Any]:
    """The `Response` object, an error too, with a valid RequestId."""
    document: Any = _NOT_JSON
    try:
        document = orjson.loads(answer.body)
        # Of all that JSON can be, only objects have these.
        response: dict[str, Any] = document["Response"]
        if _REQUEST_ID.fullmatch(response["RequestId"]):
            return response
    except (orjson.JSONDecodeError, KeyError, TypeError):
        pass
    raise _no_answer(answer, document)


def without_error(answer: Answer, response: dict[str, Any]) -> dict[str, Any]:
    """The same response, unless it is an error: raises ServiceError or ProtocolError."""
    error = response.get("Error")
    if error is not None:
        raise _service_error(error, response["RequestId"])
    if answer.status != 200:
        raise _http_error(answer.status)
    return response


_NOT_JSON = object()
"""What stands for the document of a body that is none."""


def _no_answer(answer: Answer, document: object) -> KmsError:
    """What is wrong with an answer that has no Response, or none with a valid RequestId."""
    if answer.status != 200:
        return _http_error(answer.status)
    if document is _NOT_JSON:
        return ProtocolError("NotJson", f"the answer ({len(answer.body):,} bytes) is no JSON")
    if isinstance(document, dict) and isinstance(document.get("Response"), dict):
        return ProtocolError("InvalidRequestId", "the answer has no valid RequestId")
    return ProtocolError("NoResponse", "the answer has no Response object")


def _service_error(error: Any, request_id: str) -> ServiceError | ProtocolError:
    code = error.get("Code") if isinstance(error, dict) else None
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        return ProtocolError("InvalidAnswer", "the Error has no valid Code", request_id=request_id)
    given = error.get("Message")
    # Of what is nested, not even `str` is safe to ask for.
    message = str(given) if isinstance(given, str | int | float) else ""
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
_IN_BLOBS = f"{string.ascii_letters}{string.digits}+/=_.:-".encode()

# The characters of an option that names a CMK.
_KEY_ID = re.compile(r"[!-~]{1,128}")

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

# CamelCase names with dots between them, in the documentation and in the SDK's list.
_CODE = re.compile(r"(?=.{1,128}\Z)[A-Za-z0-9]+(\.[A-Za-z0-9]+)*")

# A UUID in every published example; the documentation promises no more than an id.
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
