"""What an input holds: one reading of all its rows, and what a run would make of each of them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import orjson

from batchkms.checks.duplicates import (
    Duplicates,
    find_duplicates,
    has_own_id,
    spill_problem,
    with_names,
)
from batchkms.checks.idindex import HELD_ROWS, DuplicateId, IdIndex
from batchkms.errors import InputBroken
from batchkms.records import MAX_PLAINTEXT_BYTES, EarlierResult, Record, Result
from batchkms.rowset import RowSet
from batchkms.sources.base import Source
from batchkms.tally import OTHER_CODES, OTHER_KEYS

NAMED_ROWS = 100
"""So many failing rows are kept for the report."""

CODES = 200
"""So many different codes are told apart: those of a result file may be anything."""

KEYS = 10_000
"""So many different CMKs are told apart."""

CONTEXTS = 10_000
"""So many different encryption contexts are counted."""

SIZE_STEPS = (16, 64, 256, 1_024, MAX_PLAINTEXT_BYTES)
"""The upper ends of the size histogram, in bytes of plaintext or characters of ciphertext."""

_COARSE_STEP = 1_024
"""Longer ones are counted by the KiB: there are too many different lengths up to a MiB."""

DATA_KEYS = 100_000
"""So many different data keys are counted."""

_TOO_LARGE = "PlaintextTooLarge"

Batch = list[Record | Result]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What one input holds. Counts are of rows, sizes in bytes.

    `sendable` and `failing` rows are all there are; what is said of keys, contexts, ids and
    plaintexts is of the sendable ones.
    """

    name: str
    rows: int
    sendable: int
    failing: int
    passed_on: int
    """Of those that fail, the rows that had failed in an earlier run already."""
    codes: dict[str, int]
    """How many rows fail with which code, most frequent first."""
    named_failing: tuple[Result, ...]
    """The first 100 rows that fail."""
    read_bytes: int
    """Of the input, as stored."""
    content_bytes: int
    """Of all plaintexts, or of all ciphertexts where the rows hold those."""
    sizes: dict[int, int]
    """How many rows hold so much; above 4,096 bytes rounded up to the KiB."""
    envelopes: int
    """Rows that are envelopes, and the different data keys that they bring."""
    data_keys: int
    too_large: int
    """Rows that fail as their plaintext is over 4,096 bytes."""
    keys: dict[str, int]
    """How many rows name which CMK, most frequent first."""
    keyless: int
    """Rows that name no CMK."""
    with_context: int
    contexts: int
    """Different encryption contexts; counted up to 10,000."""
    id_bytes: int
    context_bytes: int
    """Of the encryption contexts, as JSON strings."""
    failing_bytes: int
    """Of the result rows of those that fail."""
    kept_bytes: int
    """Of the columns that are carried through, with their names, as JSON."""
    repeated_seqs: int
    """Rows of a result file whose `seq` an earlier row has. The first of them stops a run."""
    first_repeated_seq: int | None
    unseen: dict[str, str]
    """Fields that no row has though an option names them: that option, by name."""
    duplicates: Duplicates
    broken: InputBroken | None
    """Where the input breaks off: all this is then of the rows before."""

    def histogram(self) -> list[tuple[int | None, int]]:
        """Rows by the size of their plaintext: upper end in bytes (None: over), and how many."""
        counts = [0] * (len(SIZE_STEPS) + 1)
        for size, rows in self.sizes.items():
            counts[bisect_left(SIZE_STEPS, size)] += rows
        counts[-1] += self.too_large
        return list(zip([*SIZE_STEPS, None], counts, strict=True))

    def rows_by_key(self, default: str | None) -> dict[str, int]:
        """How many rows would be encrypted under which CMK, where `default` is the job's own."""
        if default is None or not self.keyless:
            return self.keys
        return {**self.keys, default: self.keys.get(default, 0) + self.keyless}


async def take_inventory(
    source: Source,
    *,
    limit: int | None = None,
    again: Callable[[], Source] | None = None,
    on_failing: Callable[[Result], None] | None = None,
    on_duplicate: Callable[[DuplicateId], None] | None = None,
    held_rows: int = HELD_ROWS,
) -> Inventory:
    """Reads an input to its end, or its first `limit` rows, and keeps none of them.

    Every row that would fail is given to `on_failing`, as the result that a run would write,
    and every duplicate id to `on_duplicate`. `again` opens the input once more where the names
    of duplicate ids are wanted: only hashes are kept of them. Raises InputError if the input is
    unusable as a whole; one that breaks off in the middle has that as `broken`. The caller
    closes the source.
    """
    with IdIndex(held_rows=held_rows) as index:
        counts = _Counts(index, on_failing)
        broken: InputBroken | None = None
        try:
            async for batch in source.batches():
                if limit is not None and counts.rows + len(batch) >= limit:
                    counts.take(batch[: limit - counts.rows])
                    break
                counts.take(batch)
        except InputBroken as error:
            broken = error
        duplicates = Duplicates(problem=counts.problem)
        if counts.problem is None:
            duplicates = await find_duplicates(index, on_duplicate)
        if again is not None and duplicates.named:
            duplicates = await with_names(duplicates, index, again)
    return counts.inventory(source, duplicates, broken)


class _Counts:
    """Counts rows, in batches: what is done for each row alone is what takes the time."""

    def __init__(self, index: IdIndex, on_failing: Callable[[Result], None] | None) -> None:
        self.rows = 0
        self.problem: str | None = None
        """Why there is no looking for duplicates any more."""
        self._index = index
        self._on_failing = on_failing
        self._encode = msgspec.json.Encoder().encode
        self._seqs = RowSet()
        self._named: list[Result] = []
        self._codes: Counter[str] = Counter()
        self._sizes: Counter[int] = Counter()
        self._keys: Counter[str] = Counter()
        self._contexts: set[int] = set()
        self._data_keys: set[int] = set()
        self._sendable = self._passed_on = self._envelopes = self._content_bytes = 0
        self._too_large = self._keyless = self._with_context = 0
        self._id_bytes = self._context_bytes = self._failing_bytes = 0
        self._kept_bytes = 0
        self._repeated_seqs = 0
        self._first_repeated_seq: int | None = None

    def take(self, batch: Batch) -> None:
        """Counts some rows."""
        self.rows += len(batch)
        records = [item for item in batch if isinstance(item, Record)]
        self._take_records(records)
        if len(records) < len(batch):
            for item in batch:
                if isinstance(item, Result):
                    self._take_failing(item)
        for item in batch:
            if not self._seqs.add(item.seq):
                self._repeated_seqs += 1
                self._first_repeated_seq = self._first_repeated_seq or item.seq
        if self.problem is None:
            self._note_ids(batch)

    def _take_records(self, records: list[Record]) -> None:
        self._sendable += len(records)
        lengths = [len(record.ciphertext or record.plaintext) for record in records]
        self._content_bytes += sum(lengths)
        self._sizes.update(map(_counted_length, lengths))
        blobs = [record.data_key for record in records if record.data_key is not None]
        self._envelopes += len(blobs)
        if len(self._data_keys) < DATA_KEYS:
            self._data_keys.update(map(hash, blobs))
        self._id_bytes += len(
            "".join([record.id for record in records]).encode("utf-8", "surrogatepass")
        )
        keys = [record.key_id for record in records if record.key_id is not None]
        self._keyless += len(records) - len(keys)
        for key_id, rows in Counter(keys).items():
            _count(self._keys, key_id, rows, most=KEYS, others=OTHER_KEYS)
        contexts = [r.encryption_context for r in records if r.encryption_context is not None]
        self._with_context += len(contexts)
        self._context_bytes += sum([len(orjson.dumps(context)) for context in contexts])
        kept = [record.kept for record in records if record.kept]
        # Without the braces, and with a comma.
        self._kept_bytes += sum([len(self._encode(columns)) - 1 for columns in kept])
        if len(self._contexts) < CONTEXTS:
            self._contexts.update(map(hash, contexts))

    def _take_failing(self, result: Result) -> None:
        self._passed_on += isinstance(result, EarlierResult)
        self._too_large += result.code == _TOO_LARGE
        _count(self._codes, result.code or "", 1, most=CODES, others=OTHER_CODES)
        self._failing_bytes += len(self._encode(result)) + 1
        if len(self._named) < NAMED_ROWS:
            self._named.append(result)
        if self._on_failing is not None:
            self._on_failing(result)

    def _note_ids(self, batch: Batch) -> None:
        add = self._index.add
        try:
            for item in batch:
                if has_own_id(item):
                    add(item.id, item.seq)
        except OSError as error:
            self.problem = spill_problem(error)

    def inventory(
        self, source: Source, duplicates: Duplicates, broken: InputBroken | None
    ) -> Inventory:
        """What was counted."""
        return Inventory(
            name=source.name,
            rows=self.rows,
            sendable=self._sendable,
            failing=self.rows - self._sendable,
            passed_on=self._passed_on,
            codes=dict(self._codes.most_common()),
            named_failing=tuple(self._named),
            read_bytes=source.read_bytes,
            content_bytes=self._content_bytes,
            sizes=dict(sorted(self._sizes.items())),
            envelopes=self._envelopes,
            data_keys=len(self._data_keys),
            too_large=self._too_large,
            keys=dict(self._keys.most_common()),
            keyless=self._keyless,
            with_context=self._with_context,
            contexts=min(len(self._contexts), CONTEXTS),
            id_bytes=self._id_bytes,
            context_bytes=self._context_bytes,
            failing_bytes=self._failing_bytes,
            kept_bytes=self._kept_bytes,
            repeated_seqs=self._repeated_seqs,
            first_repeated_seq=self._first_repeated_seq,
            unseen=dict(source.unseen) if self.rows else {},
            duplicates=duplicates,
            broken=broken,
        )


def _counted_length(length: int) -> int:
    return length if length <= MAX_PLAINTEXT_BYTES else -(-length // _COARSE_STEP) * _COARSE_STEP


def _count(counter: Counter[str], name: str, rows: int, *, most: int, others: str) -> None:
    """Counts under the name, or under one for all others once there are too many names."""
    counter[name if name in counter or len(counter) < most else others] += rows
