"""Memory that two processes share: nothing is overwritten before it was let go of."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms.runs.lots import Lot
from batchkms.sources.lineblocks import LineBlock
from batchkms.team.counts import Counts
from batchkms.team.messages import lines_parts, read_lines, read_results, results_parts
from batchkms.team.ring import Memory, Place, RingReader, RingWriter, make_memory

ROOM = 1000


def _both(size: int = ROOM) -> tuple[RingWriter, RingReader]:
    memory = Memory(size, size)
    return RingWriter(memory.lines), RingReader(memory.lines)


class _Held(NamedTuple):
    expected: bytes
    part: memoryview
    let_go: Callable[[], None]


_STEPS = st.lists(
    st.tuples(st.just("put"), st.integers(1, ROOM + 10))
    | st.tuples(st.just("let go"), st.integers(0, 100)),
    max_size=200,
)


@given(_STEPS)
def test_parts_stay_as_they_are_until_they_are_let_go_of_in_any_order(
    steps: list[tuple[str, int]],
) -> None:
    writer, reader = _both()
    held: list[_Held] = []
    for number, (what, value) in enumerate(steps):
        if what == "put":
            data = bytes([number % 256]) * value
            if (place := writer.put([data])) is not None:
                held.append(_Held(data, *reader.part(place)))
        elif held:
            held.pop(value % len(held)).let_go()
        assert all(each.part == each.expected for each in held)
    while held:
        held.pop().let_go()
    # Nothing is lost of the room: a part of half of it finds room wherever the last one ended.
    assert writer.put([b"x" * (ROOM // 2)]) is not None


def test_what_has_no_room_is_refused_until_there_is_some() -> None:
    writer, reader = _both()
    places = [writer.put([b"x" * 400]) for _ in range(3)]
    assert places[2] is None
    assert places[0] is not None
    _, let_go = reader.part(places[0])
    assert writer.put([b"x" * 400]) is None
    let_go()
    assert writer.put([b"x" * 400]) == Place(1400, 400)


def test_a_place_that_is_none_is_refused() -> None:
    writer, reader = _both()
    place = writer.put([b"x" * 400])
    assert place is not None
    reader.part(place)
    for wrong in (place, Place(200, 100), Place(1100, 200), Place(500, 0), Place(5000, 1001)):
        with pytest.raises(ValueError, match="no place in the memory"):
            reader.part(wrong)


@pytest.mark.parametrize("rows", [1, 20])
def test_results_and_lines_are_the_same_with_room_and_without(rows: int) -> None:
    # Of two parts each, the second one has no room where there are many rows.
    data, counts = b"a result row of some length\n" * rows, Counts(ok=rows, by_key={"k": rows})
    writer, reader = _both()
    lots = [Lot(data[:9], b"su"), Lot(data[9:], b"ms")]
    frames = [b"".join(results_parts(lots, counts, writer)) for _ in range(2)]
    assert (len(frames[0]) == len(frames[1])) is (rows == 1)
    for frame in frames:
        lot, read = read_results(memoryview(frame), reader)
        assert (bytes(lot.data), lot.sums, read) == (data, b"sums", counts)
        assert (lot.let_go is None) is (len(frame) > len(data) > 100)
    pieces = (data[:3], memoryview(data)[3:])
    block = LineBlock(lines_before=9, rows_before=8, rows=rows, pieces=pieces, too_long=(1, 2))
    writer, reader = _both()
    frames = [b"".join(lines_parts(block, writer)) for _ in range(2)]
    assert [read_lines(memoryview(frame), reader) for frame in frames] == [
        replace(block, pieces=(data,))
    ] * 2
    # A block is copied at once, so that its room is free again.
    assert writer.put([data]) is not None


def test_nothing_takes_no_place() -> None:
    writer, reader = _both()
    for _ in range(2):
        assert writer.put([b""]) is None
        place = writer.put([b"x"])
        assert place is not None
        assert bytes(reader.part(place)[0]) == b"x"


def test_all_members_together_have_bounded_memory() -> None:
    for members in (1, 2, 16, 64):
        memory = make_memory(members)
        assert memory is not None
        sizes = [len(room) - 64 for room in (memory.lines, memory.results)]
        assert sum(sizes) * members <= 10 * 2**20
        assert min(sizes) > 0
        memory.close()


def test_where_there_is_no_memory_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, size: int) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", refuse)
    assert make_memory(2) is None
