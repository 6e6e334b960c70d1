"""What is told of ids that occur more than once: how many, which ids, and in which rows."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from batchkms.checks.idindex import BUCKETS, DuplicateId, IdIndex
from batchkms.errors import InputBroken, InputError
from batchkms.records import EarlierResult, Record, Result
from batchkms.sources.base import Source

NAMED_IDS = 100
"""So many duplicate ids are kept for the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """The ids that several rows have.

    `ids` counts them, `surplus_rows` the rows beyond the first of each. The first 100 are in
    `named`, by their first row; `names` has the ids themselves by their digest, where the input
    was read again for them. `problem` says why nobody could look, if so.
    """

    ids: int = 0
    surplus_rows: int = 0
    named: tuple[DuplicateId, ...] = ()
    names: Mapping[bytes, str] = field(default_factory=dict)
    problem: str | None = None

    def name(self, duplicate: DuplicateId) -> str | None:
        """The id itself, where it is known."""
        return self.names.get(duplicate.digest)


def has_own_id(item: Record | Result) -> bool:
    """Whether the id of a row is its own, and not the ordinal that it got for want of one.

    That can be told only of a row that could not be read. Where a row that can be sent has its
    ordinal as id, it counts: its result would have the same id as another one's all the same.
    """
    if isinstance(item, Record | EarlierResult):
        return True
    return item.id != str(item.seq)


async def find_duplicates(
    index: IdIndex, on_duplicate: Callable[[DuplicateId], None] | None = None
) -> Duplicates:
    """Counts the duplicates of an index and gives each one to `on_duplicate`, in no order."""
    ids = surplus = 0
    first: list[DuplicateId] = []
    try:
        for bucket in range(BUCKETS):
            found = list(index.duplicates(bucket))
            ids += len(found)
            surplus += sum(each.rows - 1 for each in found)
            first = heapq.nsmallest(NAMED_IDS, [*first, *found], key=_first_seq)
            if on_duplicate is not None:
                for each in found:
                    on_duplicate(each)
            await asyncio.sleep(0)  # The user may want to leave.
    except OSError as error:
        return Duplicates(problem=spill_problem(error))
    return Duplicates(ids=ids, surplus_rows=surplus, named=tuple(first))


async def with_names(
    duplicates: Duplicates, index: IdIndex, again: Callable[[], Source]
) -> Duplicates:
    """The same with the ids of those that are named, as far as they are found.

    Opens the input and reads it a second time, up to the last of them.
    """
    digests = {_first_seq(each): each.digest for each in duplicates.named}
    names: dict[bytes, str] = {}
    try:
        source = again()
    except InputError:
        return duplicates
    try:
        async for batch in source.batches():
            for item in batch:
                # The digest is compared as well: the file may have changed meanwhile.
                if item.seq in digests and index.digest(item.id) == digests[item.seq]:
                    names[digests.pop(item.seq)] = item.id
            if not digests:
                break
    except (InputError, InputBroken):
        pass  # The first reading has told that.
    finally:
        await source.aclose()
    return replace(duplicates, names=names)


def spill_problem(error: OSError) -> str:
    """Why there was no looking for duplicates, in words."""
    return f"the temporary file for it cannot be used: {error.strerror}; set TMPDIR to another one"


def _first_seq(duplicate: DuplicateId) -> int:
    return duplicate.seqs[0]
