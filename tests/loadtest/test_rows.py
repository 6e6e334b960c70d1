"""Rows of a file as payloads: which are held, which are left out, and what is said of it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from batchkms.errors import InputError
from batchkms.loadtest.rows import MOST_BYTES, MOST_ROWS, Row, Rows, read_rows
from batchkms.operations.sealing import DATA_KEY_CONTEXT
from batchkms.records import Record
from batchkms.sources import open_source
from batchkms.sources.base import Fields

PLAINTEXTS = Fields(key="cmk")
CIPHERTEXTS = Fields(key="cmk", ciphertext="ciphertext")
CANARY = "canary-5Tt8Wb62nR"


async def rows_of(path: Path, rows: list[Any], fields: Fields, **bounds: int) -> Rows:
    """The rows of a file of JSON Lines; a text is written as it is."""
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines))
    return await read_rows(open_source(str(path), fields=fields), **bounds)


async def test_plaintexts_with_their_own_key_and_context(tmp_path: Path) -> None:
    given = [
        {"plaintext": "h\u00e9", "cmk": "mine", "encryption_context": {"a": "b"}},
        {"plaintext": "x"},
    ]
    held = await rows_of(tmp_path / "in.jsonl", given, PLAINTEXTS)
    first, second = held.rows
    assert (first.plaintext, first.key_id, first.context) == ("aMOp", "mine", '{"a":"b"}')
    assert (second.plaintext, second.key_id, second.context) == ("eA==", None, None)
    assert first.decoded() == "h\u00e9".encode()
    assert held.notes == []


async def test_a_result_file(tmp_path: Path) -> None:
    sealed = {"seq": 1, "id": "a", "status": "ok", "key_id": "k", "ciphertext": "blob-1"}
    failed = {"seq": 2, "id": "b", "status": "failed", "class": "internal"}
    failed |= {"code": "InternalError", "message": CANARY, "attempts": 1}
    envelope = {**sealed, "seq": 3, "mode": "envelope", "data_key": "blob-2"}
    given = [{**sealed, "encryption_context": '{"a":"b"}'}, failed, envelope]
    held = await rows_of(tmp_path / "in.jsonl", given, CIPHERTEXTS)
    first, second = held.rows
    assert (first.ciphertext, first.context, first.destination_context) == (
        *("blob-1", '{"a":"b"}', '{"a":"b"}'),
    )
    assert first.key_id is None
    # Of an envelope, KMS is asked for its data key.
    assert (second.ciphertext, second.context, second.destination_context) == (
        *("blob-2", DATA_KEY_CONTEXT, DATA_KEY_CONTEXT),
    )
    assert held.notes == [f"left out 1 row of {tmp_path / 'in.jsonl'} that cannot be sent"]


async def test_rows_that_cannot_be_sent_are_told(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    given = ["no JSON", {"plaintext": "x"}, {"plaintext": CANARY * 300}, {"plaintext": 7}]
    held = await rows_of(path, given, PLAINTEXTS)
    assert len(held.rows) == 1
    assert len(held.notes) == 1
    assert held.notes[0].startswith(f"left out 3 rows of {path} that cannot be sent (the first: ")
    assert "line 1" in held.notes[0]


async def test_no_row_that_can_be_sent(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no row that can be sent; the first: line 1: ") as error:
        await rows_of(tmp_path / "in.jsonl", [{"plaintext": CANARY * 300}], PLAINTEXTS)
    assert CANARY not in f"{error.value!r} {error.value.hint}"
    with pytest.raises(InputError, match="holds no rows"):
        await rows_of(tmp_path / "in.jsonl", [], PLAINTEXTS)


async def test_a_file_that_breaks_off(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl.gz"
    whole = gzip.compress(b"".join(b'{"plaintext":"%064d"}\n' % n for n in range(20_000)))
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="breaks off"):
        await read_rows(open_source(str(path)), most=20_000)
    # The first rows are all there, and no others are looked at.
    assert len((await read_rows(open_source(str(path)), most=5)).rows) == 5


async def test_no_more_rows_are_held_than_there_is_room_for(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    given: list[Any] = [{"plaintext": str(number)} for number in range(20)]
    held = await rows_of(path, given, PLAINTEXTS, most=7)
    assert [row.decoded() for row in held.rows] == [b"%d" % number for number in range(7)]
    assert held.notes == [f"only the first 7 rows of {path} are held and sent, again and again"]
    assert (await rows_of(path, given, PLAINTEXTS, most=20)).notes == []
    # Each takes four characters of base64.
    assert len((await rows_of(path, given, PLAINTEXTS, most_bytes=13)).rows) == 3
    assert len((await rows_of(path, given, PLAINTEXTS, most_bytes=1)).rows) == 1


async def test_the_bounds_are_as_documented(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    held = await rows_of(path, ['{"plaintext":"x"}'] * (MOST_ROWS + 1), PLAINTEXTS)
    assert len(held.rows) == MOST_ROWS == 10_000
    held = await rows_of(path, [json.dumps({"plaintext": "x" * 4_096})] * 3_200, PLAINTEXTS)
    assert len(held.rows) == MOST_BYTES // 5_464


async def test_a_field_that_no_row_has_is_told(tmp_path: Path) -> None:
    fields = Fields(context="ctx", required=frozenset({"ctx"}))
    held = await rows_of(tmp_path / "in.jsonl", [{"plaintext": "x"}], fields)
    assert held.notes == ["no row has a field 'ctx' (--context-field): check its name"]


def test_no_repr_shows_what_a_row_holds() -> None:
    row = Row(Record(seq=1, id=CANARY, plaintext=CANARY.encode(), key_id="k"))
    assert repr(row) == "Row(key_id='k', <24 bytes>)"
    assert CANARY not in repr(Rows([row], []))
