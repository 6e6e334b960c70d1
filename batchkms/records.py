"""What flows through a run: a Record comes in, exactly one Result goes out."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import msgspec

MAX_PLAINTEXT_BYTES = 4_096
"""The longest plaintext that Encrypt takes, before base64 (KMS documentation: "4K")."""

MAX_ENVELOPE_BYTES = 1024 * 1024
"""The longest plaintext that is encrypted with a data key: rows are held in memory."""

MAX_CONTEXT_CHARACTERS = 1_024
"""The longest EncryptionContext string that KMS takes, in characters."""

RESERVED_CONTEXT_MEMBER = "batchkms"
"""No row's encryption context may have this member: the one of data keys does."""

MAX_ID_CHARACTERS = 1_024
"""The longest id of a row: results are held in memory by the thousand."""


class ErrorClass(StrEnum):
    """What kind of failure a row ended with; the `class` of a result row."""

    INVALID_RECORD = "invalid_record"
    """The row was never sent: unreadable, a missing field, a bad encoding, too long."""
    INVALID_REQUEST = "invalid_request"
    """The service refused this record."""
    KEY_UNAVAILABLE = "key_unavailable"
    """The CMK does not exist, is disabled, archived or about to be deleted."""
    UNAUTHORIZED = "unauthorized"
    """The credentials or their permissions were refused."""
    THROTTLED = "throttled"
    """The account's quota was exceeded."""
    INTERNAL = "internal"
    """The service failed."""
    NETWORK = "network"
    """No answer came back: connect, TLS, reset, timeout."""
    PROTOCOL = "protocol"
    """An answer came back that is no valid answer."""
    UNKNOWN = "unknown"
    """An error code that no table knows; kept verbatim, never retried."""


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row of an inventory, ready to be sent.

    `seq` is the 1-based ordinal of the row in its input. A row to encrypt has a `plaintext`;
    one to decrypt or reencrypt a `ciphertext`, and a `data_key` if it is an envelope; one to
    verify has both. `key_id` is the row's own CMK, or None for the key of the job, and
    `source_key_id` the one that its ciphertext is said to be under. `encryption_context` is the
    exact string to send, or None; `destination_context` the one to reencrypt with, or None.
    `kept` are other columns of the row to carry through, as text or as JSON values.
    """

    seq: int
    id: str
    plaintext: bytes = b""
    key_id: str | None = None
    encryption_context: str | None = None
    ciphertext: str | None = None
    data_key: str | None = None
    destination_context: str | None = None
    source_key_id: str | None = None
    kept: dict[str, Any] | None = None

    @property
    def size_bytes(self) -> int:
        """About how much memory the record's own content takes, in bytes."""
        size = len(self.plaintext) + len(self.id) + len(self.encryption_context or "")
        if self.ciphertext is not None:
            size += len(self.ciphertext) + len(self.data_key or "")
        return size if self.kept is None else size + _kept_bytes(self.kept)

    def __repr__(self) -> str:
        # A record in a traceback or a log must not show what it carries.
        return (
            f"Record(seq={self.seq}, id={self.id!r}, plaintext=<{len(self.plaintext)} bytes>, "
            f"key_id={self.key_id!r})"
        )


def _kept_bytes(kept: dict[str, Any]) -> int:
    return sum(
        len(value) if isinstance(value, str) else memoryview(value).nbytes
        for value in kept.values()
    )


class Result(
    msgspec.Struct,
    kw_only=True,
    omit_defaults=True,
    gc=False,
    rename={"error_class": "class"},
):
    """What became of one row. The fields are the columns of a result file, in this order.

    `attempts` counts the calls made for the row, 0 when it was never sent. `latency_ms` is
    the time the last attempt took, from sending to the parsed answer, without the waiting
    for quota and between attempts. A field that is None is left out of the file.

    The fields after it belong to single operations. `source_key_id` and `reencrypted` are of
    reencrypt; `mode` is `envelope` where the ciphertext was made with a data key, which is in
    `data_key`, encrypted by KMS; `plaintext` is of decrypt, written as `encoding` says. `kept`
    holds other columns of the input; a sink writes them as columns of their own.
    """

    seq: int
    id: str
    status: Literal["ok", "failed"]
    key_id: str | None = None
    ciphertext: str | None = None
    encryption_context: str | None = None
    error_class: ErrorClass | None = None
    code: str | None = None
    message: str | None = None
    request_id: str | None = None
    attempts: int
    latency_ms: float | None = None
    source_key_id: str | None = None
    reencrypted: bool | None = None
    mode: Literal["envelope"] | None = None
    data_key: str | None = None
    plaintext: str | None = None
    encoding: Literal["utf8", "base64"] | None = None
    kept: dict[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """Whether the row was done."""
        return self.status == "ok"

    @property
    def size_bytes(self) -> int:
        """About how much memory what was made of the row takes, in bytes."""
        size = len(self.ciphertext or "") + len(self.plaintext or "")
        return size if self.kept is None else size + _kept_bytes(self.kept)

    def __repr__(self) -> str:
        # The result of a decryption in a traceback must not show it.
        return f"Result(seq={self.seq}, id={self.id!r}, status={self.status!r}, code={self.code!r})"


BASE_COLUMNS = (
    *("seq", "id", "status", "key_id", "ciphertext", "encryption_context"),
    *("class", "code", "message", "request_id", "attempts", "latency_ms"),
)
"""The columns of every result file. An operation adds its own after them."""


class EarlierResult(Result):
    """A Result of another run that passes through this one: its failure is none of this one's."""


def rejected(
    seq: int, row_id: str | None, code: str, message: str, *, encryption_context: str | None = None
) -> Result:
    """The Result of a row that cannot be sent.

    `code` is a CamelCase code of ours from `errors.VERDICTS`; `message` names the place and
    the reason and never repeats the content of the row.
    """
    return Result(
        seq=seq,
        id=row_id if row_id else str(seq),
        status="failed",
        encryption_context=encryption_context,
        error_class=ErrorClass.INVALID_RECORD,
        code=code,
        message=message,
        attempts=0,
    )
