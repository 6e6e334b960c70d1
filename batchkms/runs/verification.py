"""`batchkms verify`: an output against the inventory that it was made of, row by row.

    read_output   every row of the output into an index by `seq`
    choose        which of them are decrypted
    to_decrypt    the inventory as a stream: what can be compared without a call is; the rest
                  are the records of an engine with the operation `Verify`
    judge         its results
    end           what is left over in the output

The rows of an output come in order of completion, so that each is fetched from where it is.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Self

import msgspec

from batchkms.errors import ConfigError, RunStopped, verdict_for
from batchkms.operations.once import MOST_KEPT
from batchkms.operations.verify import DIFFERS, MOST_DIFFERING, OTHER_KEY, Verify
from batchkms.records import ErrorClass, Record, Result
from batchkms.runs.resultfile import (
    BadResultFile,
    ResultRow,
    read_good_rows,
    read_row,
    sink_of_file,
)
from batchkms.runs.rowindex import CHOSEN, ENVELOPE, MATCHED, OK, Place, RowIndex, TooFarApart
from batchkms.runs.verifyfindings import Finding, Findings, Kind
from batchkms.sources.base import DEFAULT_FIELDS, Fields
from batchkms.sources.ciphertexts import CiphertextMapper

DOES_NOT_DECRYPT = frozenset(
    (
        "InvalidParameterValue.InvalidCiphertext",
        "InvalidParameter.DecryptMaterialError",
        "FailedOperation.DecryptError",
        "FailedOperation.EncryptionError",
        "InvalidParameter",
        "InvalidParameterValue",
        # Of ours: an envelope that does not open.
        "InvalidEnvelope",
    )
)
"""The codes that say that a ciphertext or its context is wrong. Which of them the service gives
for another context is documented nowhere."""

_MOST_SEQ = 2**63 - 1

_ROWS_AT_ONCE = 500
_BYTES_AT_ONCE = 1024 * 1024
"""After so many rows or bytes others have a turn, such as a signal."""

OTHER_CONTEXT = "ContextNotDecrypted"
"""The code of ours for a row whose context only a call could tell to be right."""


@dataclass(slots=True)
class Unverified:
    """Rows of which nothing is known: how many, by what kept them, and by class and code."""

    failed_before: int = 0
    """They have no ciphertext, as they had failed."""
    to_retry: int = 0
    """Those of them that a retry does again."""
    never_sent: int = 0
    """The inventory's row cannot be encrypted at all, and the output says that it was."""
    failed_now: int = 0
    """The service did not answer, or not for this CMK."""
    other_context: int = 0
    """They are said to be reencrypted with another context, and are not in the sample."""
    by_class: Counter[str] = field(default_factory=Counter)
    by_code: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """All of them."""
        return self.failed_before + self.never_sent + self.failed_now + self.other_context

    @property
    def retryable(self) -> bool:
        """Whether verifying once more may well verify them all."""
        return self.failed_now == self.rows and all(
            verdict_for(code).retryable for code in self.by_code
        )

    def add_other_context(self) -> None:
        """Counts one of which only decrypting would tell what its context is."""
        self.other_context += 1
        self.by_code[OTHER_CONTEXT] += 1

    def add(self, result: Result) -> None:
        """Counts the class and code of one."""
        self.by_class[result.error_class or ErrorClass.UNKNOWN] += 1
        code = result.code or "?"
        self.by_code[code if code in self.by_code or len(self.by_code) < 200 else "others"] += 1


class Verification:
    """One output being verified. A context manager, as it holds files.

    `rows` are those of the inventory, `output_rows` those of the output that could be read;
    `ok_rows` of them have a ciphertext. `verified` were decrypted and are right, `matched` are
    there and were not chosen to be decrypted. `calls` is what the chosen rows take at the most.
    """

    def __init__(self, output: Path, *, format: str) -> None:
        """Raises ConfigError for a file that is no result file."""
        self.findings = Findings()
        self.unverified = Unverified()
        self.rows = self.output_rows = self.ok_rows = self.verified = self.matched = 0
        self.chosen = self.calls = 0
        self._output = output
        self._all = True
        self._envelopes = 0
        self._data_keys: set[bytes] = set()
        self._differing: list[Finding] = []
        self._mapper = CiphertextMapper(Fields(ciphertext=DEFAULT_FIELDS["ciphertext_field"]))
        try:
            self._file = output.open("rb")
        except OSError as error:
            raise ConfigError(
                f"{output} cannot be read: {error.strerror}",
                hint="name the output of encrypt or reencrypt; --against names the inventory",
            ) from None
        try:
            self._sink = sink_of_file(self._file, format)
        except BadResultFile as bad:
            self._file.close()
            raise ConfigError(
                f"{output} is no result file: {bad.reason}",
                hint="name the output of encrypt or reencrypt; --against names the inventory",
            ) from None
        self._index = RowIndex()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._index.close()

    async def read_output(self) -> None:
        """Takes every row of the output into the index. Raises OutputError."""
        rows = since = 0
        for offset, row in read_good_rows(self._file, self._sink):
            if isinstance(row, BadResultFile):
                self._find(Kind.DAMAGED, row.reason, None, offset)
            else:
                self._take(offset, row)
            rows += 1
            if rows == _ROWS_AT_ONCE or offset - since >= _BYTES_AT_ONCE:
                rows, since = 0, offset
                await asyncio.sleep(0)
        self._plan(self.ok_rows - self._envelopes, self._envelopes)

    def _take(self, offset: int, row: ResultRow) -> None:
        result = row.result
        envelope = result.ok and result.mode == "envelope"
        flags = OK * result.ok | ENVELOPE * envelope
        try:
            known = 1 <= result.seq <= _MOST_SEQ
            added = known and self._index.add(result.seq, offset, flags)
        except TooFarApart:
            known = False
        if not known:
            self._find(Kind.DAMAGED, "its seq is none that a run gives", result, offset)
            return
        self.output_rows += 1
        if not added:
            self._find(Kind.DUPLICATED, "is there for a second time", result, offset)
            return
        self.ok_rows += result.ok
        self._envelopes += envelope
        if envelope and len(self._data_keys) <= MOST_KEPT:
            data_key = (result.data_key or "").encode()
            self._data_keys.add(blake2b(data_key, digest_size=16).digest())

    def choose(self, rows: int, seed: int) -> None:
        """Chooses so many rows with a ciphertext, any of them with the same chance.

        The same rows for the same seed, in whatever order they lie in the output.
        """
        if rows >= self.ok_rows:
            return
        self._all = False
        chance = random.Random(seed)  # noqa: S311 - to be repeated, and no secret
        wanted, left, envelopes = rows, self.ok_rows, 0
        for seq, place in self._index.all_rows():
            if not place.flags & OK:
                continue
            if chance.random() * left < wanted:
                self._index.mark(seq, CHOSEN)
                wanted -= 1
                envelopes += bool(place.flags & ENVELOPE)
            left -= 1
        self._plan(rows - envelopes, envelopes)

    def _plan(self, direct: int, envelopes: int) -> None:
        keys = len(self._data_keys)
        # Of more keys than are held at once, each row may cost a call.
        self.chosen = direct + envelopes
        self.calls = direct + (envelopes if keys > MOST_KEPT else min(keys, envelopes))

    async def to_decrypt(
        self, batches: AsyncIterator[list[Record | Result]]
    ) -> AsyncGenerator[list[Record | Result], None]:
        """Yields the chosen rows of the inventory, each with the ciphertext that the output has.

        Raises RunStopped where the inventory has a `seq` twice, or the output was changed.
        """
        async for batch in batches:
            matched = [record for item in batch if (record := self._matched(item))]
            if matched:
                yield [*matched]

    def _matched(self, item: Record | Result) -> Record | None:
        """The row to decrypt, None where nothing is left to do."""
        self.rows += 1
        place = self._index.find(item.seq)
        if place is None:
            self._find(Kind.MISSING, "has no row in the output", item, None)
            return None
        if place.flags & MATCHED:
            raise RunStopped(
                f"two rows of the inventory have the seq {item.seq}, so that their results cannot "
                "be told apart",
                hint="name the inventory that the output was made of",
            )
        self._index.mark(item.seq, MATCHED)
        found = self._row_at(item.seq, place)
        if not found.ok:
            self.unverified.failed_before += 1
            self.unverified.to_retry += verdict_for(found.code or "").retryable
            self.unverified.add(found)
        elif isinstance(item, Result):
            self.unverified.never_sent += 1
            self.unverified.add(item)
        elif not self._differs(item, found, place):
            # Whether a ciphertext can be one at all, no call has to tell.
            record = self._record(item, found, place)
            if self._all or place.flags & CHOSEN:
                return record
            if record is not None and found.encryption_context != item.encryption_context:
                self.unverified.add_other_context()
            elif record is not None:
                self.matched += 1
        return None

    def _row_at(self, seq: int, place: Place) -> Result:
        try:
            found = read_row(self._file, self._sink, place.offset)
            if found.seq == seq:
                return found
        except (BadResultFile, OSError):
            pass
        raise RunStopped(
            f"{self._output} was changed while it was read", hint="run again when it is complete"
        )

    def _differs(self, item: Record, found: Result, place: Place) -> bool:
        """Compares what needs no call, and says whether that was all there is to say."""
        if found.id != item.id:
            text = f"has another id than the row of the inventory ({shown_id(item.id)})"
            self._find(Kind.ID, text, found, place.offset)
            return True
        # A row that was reencrypted may have been given another context on purpose. Whether its
        # ciphertext is bound to that one, decrypting it tells.
        moved = found.source_key_id is not None or found.reencrypted is not None
        if found.encryption_context != item.encryption_context and not moved:
            text = "has another encryption context than the row of the inventory"
            self._find(Kind.CONTEXT, text, found, place.offset)
            return True
        return False

    def _record(self, item: Record, found: Result, place: Place) -> Record | None:
        sealed = self._mapper.from_values(
            found.seq,
            0,
            (
                *(found.id, found.ciphertext, None, found.encryption_context),
                *(None, found.mode, found.data_key, found.key_id),
            ),
        )
        if isinstance(sealed, Result):
            reason = (sealed.message or "").removeprefix("line 0: ")
            self._find(Kind.CORRUPTED, f"cannot be decrypted: {reason}", found, place.offset)
            return None
        return msgspec.structs.replace(sealed, plaintext=item.plaintext)

    def judge(self, results: Sequence[Result]) -> None:
        """Takes what became of the rows that were decrypted."""
        for result in results:
            if result.ok:
                self.verified += 1
            elif result.code == DIFFERS:
                self._judge_different(result)
            elif result.code == OTHER_KEY:
                self._find(Kind.KEY, f"is under another CMK than it says: {result.key_id}", result)
            elif result.code in DOES_NOT_DECRYPT:
                self._find(Kind.CORRUPTED, f"does not decrypt: {result.code}", result)
            else:
                self.unverified.failed_now += 1
                self.unverified.add(result)

    def _judge_different(self, result: Result) -> None:
        text = "decrypts to something else than the inventory has"
        if len(self._differing) < MOST_DIFFERING:
            # Only when all are there can be told which were swapped.
            finding = Finding(kind=Kind.DIFFERENT, text=text, seq=result.seq, id=result.id)
            self._differing.append(finding)
        else:
            self._find(Kind.DIFFERENT, text, result)

    def end(self, operation: Verify, *, complete: bool) -> None:
        """Names what was swapped and, if the inventory was read to its end, what it lacks.

        Raises RunStopped where the output was changed meanwhile.
        """
        for finding in self._differing:
            other = operation.holds_row(finding.seq or 0)
            if other is not None:
                finding.kind = Kind.SWAPPED
                finding.text = f"decrypts to the plaintext of row {other}"
            self._find(finding.kind, finding.text, finding)
        self._differing.clear()
        if complete:
            for seq, place in self._index.all_rows():
                if not place.flags & MATCHED:
                    named = self.findings.names(Kind.EXTRA)
                    row = self._row_at(seq, place) if named else None
                    self._find(Kind.EXTRA, "has no row in the inventory", row, place.offset)
        try:
            self.findings.find_lines(self._output)
        except OSError as error:
            raise RunStopped(f"{self._output} cannot be read: {error.strerror}") from None

    def _find(
        self,
        kind: Kind,
        text: str,
        row: Record | Result | Finding | None,
        offset: int | None = None,
    ) -> None:
        finding = Finding(kind=kind, text=text, offset=offset)
        if row is not None:
            finding.seq, finding.id = row.seq, shown_id(row.id or "")
            if offset is None and kind is not Kind.MISSING and row.seq is not None:
                place = self._index.find(row.seq)
                finding.offset = None if place is None else place.offset
        self.findings.add(finding)


def shown_id(row_id: str) -> str:
    """An id, cut if it is long."""
    return row_id if len(row_id) <= 200 else f"{row_id[:200]}…"
