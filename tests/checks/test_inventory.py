"""One reading of an input finds every defect in it, and tells none of its secrets."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from batchkms.checks.idindex import NAMED_SEQS, DuplicateId
from batchkms.checks.inventory import (
    CODES,
    CONTEXTS,
    KEYS,
    NAMED_ROWS,
    Batch,
    Inventory,
    take_inventory,
)
from batchkms.errors import InputError
from batchkms.records import Record, Result
from batchkms.sources import open_source
from batchkms.sources.base import Fields
from batchkms.tally import OTHER_CODES, OTHER_KEYS
from tests.checks.seeded import CANARY, FIELDS, Sown, sow


class Given:
    """A source of rows that are there already."""

    name = "given"
    size_bytes = None
    read_bytes = 0
    sha256 = None

    def __init__(self, *batches: Batch, unseen: dict[str, str] | None = None) -> None:
        self._batches = batches
        self.unseen = unseen or {}

    async def batches(self) -> AsyncIterator[Batch]:
        for batch in self._batches:
            yield batch

    async def aclose(self) -> None:
        return None


def record(seq: int, row_id: str | None = None, **more: object) -> Record:
    values = {"id": row_id or f"row-{seq}", "plaintext": b"x", **more}
    return Record(seq=seq, **values)  # type: ignore[arg-type]  # given by name


async def of_file(
    path: Path,
    *,
    fields: Fields | None = None,
    needs_key: bool = False,
    limit: int | None = None,
    names: bool = False,
    on_failing: Callable[[Result], None] | None = None,
    on_duplicate: Callable[[DuplicateId], None] | None = None,
    held_rows: int = 100,
) -> Inventory:
    """The inventory of a file, with ids written out all the time."""

    source = open_source(str(path), fields=fields, needs_key=needs_key)
    try:
        return await take_inventory(
            source,
            limit=limit,
            again=(lambda: open_source(str(path), fields=fields)) if names else None,
            on_failing=on_failing,
            on_duplicate=on_duplicate,
            held_rows=held_rows,
        )
    finally:
        await source.aclose()


def _ordinal(row: Result, at_line: dict[int, int]) -> int:
    """The ordinal of a row by the line that its message names, if it names one."""
    if row.code == "RequestLimitExceeded":
        return row.seq
    return at_line[int((row.message or "").removeprefix("line ").partition(":")[0])]


async def assert_all_found(path: Path, sown: Sown, *, held_rows: int) -> None:
    """Every defect that was sown is found, at its place, and nothing else is."""
    failing: list[Result] = []
    twice: list[DuplicateId] = []
    found = await of_file(
        path,
        fields=FIELDS,
        needs_key=True,
        names=True,
        on_failing=failing.append,
        on_duplicate=twice.append,
        held_rows=held_rows,
    )
    # Rows of earlier results are among them, so that unreadable ones come last, under free numbers.
    at_line = {line: seq for seq, line in sown.lines.items()}
    assert {_ordinal(row, at_line): row.code for row in failing} == sown.failing
    assert len(failing) == len(sown.failing)
    assert list(found.named_failing) == failing[:NAMED_ROWS]
    assert found.codes == Counter(sown.failing.values())
    assert (found.rows, found.failing) == (sown.rows, len(sown.failing))
    assert found.sendable == sown.rows - len(sown.failing)
    assert found.passed_on == found.codes["RequestLimitExceeded"]
    assert found.sizes == sown.sizes
    assert sum(rows for _, rows in found.histogram()) == found.sendable + found.too_large
    assert found.histogram()[-1] == (None, found.codes["PlaintextTooLarge"])
    assert found.content_bytes == sum(size * rows for size, rows in sown.sizes.items())
    assert found.keys == sown.keys
    assert found.keyless == 0
    assert (found.with_context, found.contexts) == (sown.with_context, len(sown.contexts))
    assert found.read_bytes == path.stat().st_size
    assert found.repeated_seqs == len(sown.repeated_seqs)
    _assert_duplicates(found, twice, sown)
    assert found.broken is None
    told = repr(asdict(found)) + repr(failing) + repr(twice)
    assert CANARY not in told


def _assert_duplicates(found: Inventory, twice: list[DuplicateId], sown: Sown) -> None:
    groups = {(len(seqs), tuple(seqs[:NAMED_SEQS])) for seqs in sown.ids.values()}
    assert {(each.rows, each.seqs) for each in twice} == groups
    duplicates = found.duplicates
    assert (duplicates.ids, len(twice)) == (len(sown.ids), len(sown.ids))
    assert duplicates.surplus_rows == sum(len(seqs) - 1 for seqs in sown.ids.values())
    first = sorted(sown.ids.items(), key=lambda each: each[1])[:100]
    named = [(duplicates.name(each), each.seqs) for each in duplicates.named]
    assert named == [(row_id, tuple(seqs[:NAMED_SEQS])) for row_id, seqs in first]


@pytest.mark.parametrize("held_rows", [1, 97, 10**9])
async def test_every_defect_that_was_sown_is_found(tmp_path: Path, held_rows: int) -> None:
    path = tmp_path / "in.jsonl"
    sown = sow(path, rows=3_000, each=8, seed=held_rows)
    await assert_all_found(path, sown, held_rows=held_rows)


@pytest.mark.long
async def test_every_defect_among_a_million_rows_is_found(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    sown = sow(path, rows=1_000_000, each=150, seed=7)
    await assert_all_found(path, sown, held_rows=200_000)


async def test_an_input_without_rows(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"\n\n")
    found = await of_file(tmp_path / "in.jsonl")
    assert (found.rows, found.sendable, found.failing, found.broken) == (0, 0, 0, None)


async def test_an_input_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("name,secret\na,b\n")
    with pytest.raises(InputError, match="plaintext"):
        await of_file(tmp_path / "in.csv")


async def test_where_an_input_breaks_off_is_told_with_the_rows_before(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(f'id,plaintext\na,1\na,2\nc,"{CANARY}')
    found = await of_file(tmp_path / "in.csv", names=True)
    assert found.rows == 2
    assert found.broken is not None and "line 4" in str(found.broken)
    assert CANARY not in str(found.broken)
    assert [found.duplicates.name(each) for each in found.duplicates.named] == ["a"]


@pytest.mark.parametrize("limit", [1, 255, 256, 257, 599, 600, 601])
async def test_a_limit_looks_at_the_first_rows_alone(tmp_path: Path, limit: int) -> None:
    rows = [json.dumps({"id": f"{seq % 300}", "plaintext": "x"}) for seq in range(600)]
    (tmp_path / "in.jsonl").write_text("\n".join(rows))
    found = await of_file(tmp_path / "in.jsonl", limit=limit)
    assert found.rows == min(limit, 600)
    assert found.duplicates.ids == max(0, min(limit, 600) - 300)


async def test_rows_without_an_id_are_no_duplicates(tmp_path: Path) -> None:
    rows = ['{"plaintext":"a"}', '{"id":"","plaintext":"b"}', "no row", '{"id":null}']
    # The last row's id is the ordinal that the third one got, which could not be read.
    rows += ['{"id":3,"plaintext":"c"}']
    (tmp_path / "in.jsonl").write_text("\n".join(rows))
    assert (await of_file(tmp_path / "in.jsonl")).duplicates.ids == 0


async def test_an_id_that_is_a_number_may_be_a_duplicate(tmp_path: Path) -> None:
    rows = [f'{{"id":{number},"plaintext":"a"}}' for number in (1, 2, 3, 2)]
    (tmp_path / "in.jsonl").write_text("\n".join(rows))
    found = await of_file(tmp_path / "in.jsonl")
    assert [each.seqs for each in found.duplicates.named] == [(2, 4)]


async def test_a_row_that_fails_has_an_id_as_well(tmp_path: Path) -> None:
    rows = ['{"id":"a","plaintext":""}', '{"id":"b","plaintext":"x"}', '{"id":"a"}']
    (tmp_path / "in.jsonl").write_text("\n".join(rows))
    found = await of_file(tmp_path / "in.jsonl")
    assert [each.seqs for each in found.duplicates.named] == [(1, 3)]


async def test_names_are_not_taken_from_a_file_that_has_changed(tmp_path: Path) -> None:
    changed = tmp_path / "in.jsonl"
    changed.write_text('{"id":"b","plaintext":"x"}\n{"id":"c","plaintext":"x"}\n')
    rows: Batch = [record(1, "a"), record(2, "a"), record(3, "c"), record(4, "c")]
    found = await take_inventory(Given(rows), again=lambda: open_source(str(changed)))
    assert found.duplicates.ids == 2
    assert found.duplicates.names == {}


async def test_an_input_that_is_gone_at_the_second_reading_leaves_the_names_out() -> None:
    rows: Batch = [record(1, "a"), record(2, "a")]
    gone = "/not/there/in.jsonl"
    found = await take_inventory(Given(rows), again=lambda: open_source(gone))
    assert (found.duplicates.ids, found.duplicates.names) == (1, {})


async def test_different_keys_codes_and_contexts_are_told_apart_up_to_a_bound() -> None:
    more = 10
    rows: Batch = [
        record(seq, key_id=f"key-{seq}", encryption_context=f'{{"a":"{seq}"}}')
        for seq in range(1, KEYS + more + 1)
    ]
    failed: Batch = [
        Result(seq=20_000 + n, id="f", status="failed", code=f"Code{n}", attempts=0)
        for n in range(CODES + more)
    ]
    found = await take_inventory(Given(rows, failed))
    assert (len(found.keys), found.keys[OTHER_KEYS]) == (KEYS + 1, more)
    assert (len(found.codes), found.codes[OTHER_CODES]) == (CODES + 1, more)
    assert (found.contexts, found.with_context) == (CONTEXTS, KEYS + more)


async def test_rows_that_name_no_key_are_those_of_the_jobs_own() -> None:
    rows: Batch = [record(1, key_id="a"), record(2), record(3), record(4, key_id="b")]
    found = await take_inventory(Given(rows))
    assert (found.keys, found.keyless) == ({"a": 1, "b": 1}, 2)
    assert found.rows_by_key("c") == {"a": 1, "b": 1, "c": 2}
    assert found.rows_by_key("b") == {"a": 1, "b": 3}
    assert found.rows_by_key(None) == {"a": 1, "b": 1}


async def test_sizes_at_the_edges_of_their_steps() -> None:
    sizes = [1, 16, 17, 64, 65, 256, 257, 1_024, 1_025, 4_096, 4_097]
    rows: Batch = [record(seq, plaintext=b"x" * size) for seq, size in enumerate(sizes, 1)]
    found = await take_inventory(Given(rows))
    assert found.histogram() == [(16, 2), (64, 2), (256, 2), (1_024, 2), (4_096, 2), (None, 1)]


async def test_a_temporary_file_that_cannot_be_made_costs_only_the_duplicates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_room(**_: object) -> object:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("tempfile.TemporaryFile", no_room)
    rows: Batch = [record(seq, "a") for seq in range(1, 10)]
    found = await take_inventory(Given(rows), held_rows=2)
    assert found.rows == 9
    assert found.duplicates.ids == 0
    assert found.duplicates.problem is not None
    assert "No space left" in found.duplicates.problem
