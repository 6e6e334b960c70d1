"""What an answer to a call of a load test is worth: `ok`, or the class and code of its failure.

As strict as `KmsClient` in what counts as ok. Of an answer nothing is kept but its code and its
RequestId, so that only these are held to hold no secret.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from batchkms.errors import VERDICTS, KmsError, NetworkError, ProtocolError
from batchkms.kms.answers import (
    blob_of,
    key_id_of,
    plaintext_of,
    response_of,
    same_key,
    without_error,
)
from batchkms.kms.requestids import RequestIds
from batchkms.kms.scrub import holds
from batchkms.kms.transport import Answer
from batchkms.loadtest.call import OK
from batchkms.loadtest.contents import Content
from batchkms.loadtest.rows import Row

LONGEST_KEPT = 128
"""Characters of a code or RequestId at the most: no longer secret can be in them."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Judged(NamedTuple):
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
        response: dict[str, Any] | None = None
        try:
            response = response_of(answer)
            request_id: str = response["RequestId"]
            if not self._request_ids.is_new(request_id):
                raise ProtocolError(
                    "RepeatedRequestId", "the answer has the RequestId of an earlier one"
                )
            _CHECKS[action](without_error(answer, response), content)
        except KmsError as error:
            judged = classified(error)
            code = "" if error.code in VERDICTS else error.code
            request_id = error.request_id or ""
        else:
            judged, code = Judged(OK, None, request_id, True), ""
        if _is_plain(request_id, content.row) and not code:
            return judged
        secrets = _secrets(response or {}, content.row, token)
        if any(holds(told, secret) for told in (code, request_id) for secret in secrets):
            return ECHOED
        return judged


ECHOED = Judged("protocol", "EchoedPlaintext", None, False)
"""What an answer is worth whose code or RequestId holds a secret."""


def _is_plain(request_id: str, row: Row | None) -> bool:
    """Whether a RequestId can be kept without a closer look: it is a UUID, and not the secret."""
    if not _UUID.fullmatch(request_id):
        return not request_id
    return row is None or row.like_uuid is None or row.like_uuid not in request_id.lower()


def _secrets(response: dict[str, Any], row: Row | None, token: str | None) -> list[bytes]:
    """What must not be kept of an answer, as far as it could be in a code or a RequestId."""
    answered = response.get("Plaintext")
    found = [token.rstrip("=").encode()] if token else []
    if row is not None:
        found.append(row.decoded())
    if isinstance(answered, str) and len(answered) <= 2 * LONGEST_KEPT:
        found.append(answered.encode())
        with suppress(ValueError):
            found.append(a2b_base64(answered))
    return [secret for secret in found if len(secret) <= LONGEST_KEPT]


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
