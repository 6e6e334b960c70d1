"""What an answer to a call of a load test is worth: `ok`, or the class and code of its failure.

As strict as `KmsClient` in what counts as ok. Of an answer nothing is kept but its code and its
RequestId. A server could put into these what it was sent in another call, or a piece of it, which
nobody could search for: so only codes that are known and RequestIds that are UUIDs are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from batchkms.errors import VERDICTS, KmsError, NetworkError, ProtocolError
from batchkms.kms.answers import (
    blob_of,
    echoes,
    key_id_of,
    plaintext_of,
    response_of,
    same_key,
    without_error,
)
from batchkms.kms.requestids import RequestIds
from batchkms.kms.transport import Answer
from batchkms.loadtest.call import OK
from batchkms.loadtest.contents import Content
from batchkms.loadtest.rows import Row

UNKNOWN_CODE = "UnknownCode"
"""What is kept of a code that `errors.VERDICTS` does not know."""

_SHAPE_OF_UUIDS = b"00000000-0000-0000-0000-000000000000"
_TO_SHAPE = bytes(
    ord("0") if byte in b"0123456789abcdefABCDEF" else byte if byte == ord("-") else 0
    for byte in range(256)
)


class Judged(msgspec.Struct, frozen=True, gc=False):
    """What an answer is worth. `outcome` is `ok` or the value of an `ErrorClass`.

    `in_step` is false where whatever answered may not be in step with what it was asked: its
    connection must be closed. `code` and `request_id` hold nothing that is secret.
    """

    outcome: str
    code: str | None
    request_id: str | None
    in_step: bool


def classified(error: KmsError) -> Judged:
    """What an error of a call comes to: its class and its code."""
    in_step = not isinstance(error, NetworkError | ProtocolError)
    return Judged(error.verdict.error_class.value, error.code, error.request_id, in_step)


class Judge:
    """Judges the answers of one run, whose RequestIds must all differ."""

    def __init__(self) -> None:
        self._request_ids = RequestIds()

    def judged(self, action: str, content: Content, answer: Answer, token: str | None) -> Judged:
        """What the answer to a call is worth. Raises nothing.

        `token` is the session token that was sent, if one was.
        """
        try:
            response = response_of(answer)
            request_id: str = response["RequestId"]
            if not self._request_ids.is_new(request_id):
                raise ProtocolError(
                    "RepeatedRequestId", "the answer has the RequestId of an earlier one"
                )
            _CHECKS[action](without_error(answer, response), content)
        except KmsError as error:
            return _kept(classified(error), content.row, token)
        if _is_plain(request_id, content.row):
            return Judged(OK, None, request_id, True)
        return _kept(Judged(OK, None, request_id, True), content.row, token)


ECHOED = Judged("protocol", "EchoedPlaintext", None, False)
"""What an answer is worth whose code or RequestId is seen to hold a secret."""


def _kept(judged: Judged, row: Row | None, token: str | None) -> Judged:
    """The same with nothing of the server's own making: `ECHOED` if it is plainly a secret."""
    code, request_id = judged.code, judged.request_id
    known = code is None or code in VERDICTS
    plain = request_id is None or _is_plain(request_id, row)
    if known and plain:
        return judged
    told = f"{'' if known else code} {'' if plain else request_id}"
    if _echoes(told, row, token):
        return ECHOED
    return replace(
        judged,
        code=code if known else _known_code(code or ""),
        request_id=request_id if plain else None,
    )


def _known_code(code: str) -> str:
    """What is kept of a code without a row of its own: its family, as far as that is known."""
    family = f"{code.partition('.')[0]}.*"
    return family if family in VERDICTS else UNKNOWN_CODE


def _is_plain(request_id: str, row: Row | None) -> bool:
    """Whether a RequestId can be kept: it is a UUID, and does not hold the secret."""
    # A third of the time that a regular expression takes.
    if not request_id.isascii() or request_id.encode().translate(_TO_SHAPE) != _SHAPE_OF_UUIDS:
        return False
    return row is None or row.like_uuid is None or row.like_uuid not in request_id.lower()


def _echoes(told: str, row: Row | None, token: str | None) -> bool:
    """Whether the call's own secrets are there as they are. Cheap: any server may ask for it."""
    if row is not None:
        if row.like_uuid is not None and row.like_uuid in told.lower():
            return True
        if row.plaintext and echoes(told, row.decoded(), row.plaintext):
            return True
    return bool(token and token.rstrip("=") in told)


def _encrypted(response: dict[str, Any], content: Content) -> None:
    blob_of(response)
    same_key(response, content.key_id or "")


def _decrypted(response: dict[str, Any], content: Content) -> None:
    """Raises ProtocolError also for another plaintext than the row has, or had the last time."""
    row = content.row
    text = response.get("Plaintext")
    if row is None or row.answered is None or not isinstance(text, str):
        plaintext_of(response)
    elif hash(text) != row.answered:
        plaintext_of(response)
        raise ProtocolError(
            "WrongPlaintext",
            "the answer has another plaintext than the ciphertext",
            request_id=response["RequestId"],
        )
    key_id_of(response)
    if row is not None and row.answered is None:
        row.answered = hash(text)


def _reencrypted(response: dict[str, Any], content: Content) -> None:
    blob_of(response)
    key_id_of(response)
    key_id_of(response, "SourceKeyId")
    if type(response.get("ReEncrypted")) is not bool:
        raise ProtocolError(
            "InvalidAnswer", "the answer lacks ReEncrypted", request_id=response["RequestId"]
        )
    if content.key_id is not None:
        same_key(response, content.key_id)


def _data_key(response: dict[str, Any], content: Content) -> None:
    blob_of(response)
    if len(plaintext_of(response)) != 32:
        raise ProtocolError(
            "InvalidAnswer",
            "the answer has no data key of 256 bits",
            request_id=response["RequestId"],
        )
    same_key(response, content.key_id or "")


_CHECKS: dict[str, Callable[[dict[str, Any], Content], None]] = {
    "encrypt": _encrypted,
    "decrypt": _decrypted,
    "reencrypt": _reencrypted,
    "generate-data-key": _data_key,
}
