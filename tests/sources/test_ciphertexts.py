"""Rows that hold a ciphertext, and columns that are carried through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batchkms.records import Record, Result
from batchkms.sources import open_source
from batchkms.sources.base import Fields

BLOB = "A/+=-k-AA==-k-AA=="

SEALED = Fields(ciphertext="ciphertext", keep=("owner", "n"))


async def rows_of(path: Path, fields: Fields = SEALED, **options: Any) -> list[Record | Result]:
    source = open_source(str(path), fields=fields, **options)
    try:
        return [row async for batch in source.batches() for row in batch]
    finally:
        await source.aclose()


def jsonl(folder: Path, *rows: dict[str, Any] | str) -> Path:
    path = folder / "in.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def csv(folder: Path, text: str) -> Path:
    path = folder / "in.csv"
    path.write_text(text, encoding="utf-8")
    return path


async def test_a_ciphertext_with_its_context_and_kept_columns(tmp_path: Path) -> None:
    line = '{"id":"a","ciphertext":"%s","n": 1.50,"encryption_context":"{}","owner":"\\u4e2d"}'
    path = jsonl(tmp_path, line % BLOB)
    (row,) = await rows_of(path)
    assert isinstance(row, Record)
    assert (row.id, row.ciphertext, row.encryption_context) == ("a", BLOB, "{}")
    assert (row.destination_context, row.plaintext, row.data_key) == ("{}", b"", None)
    kept = {name: bytes(value) for name, value in (row.kept or {}).items()}
    assert kept == {"owner": b'"\\u4e2d"', "n": b"1.50"}


async def test_what_is_carried_through_counts_in_the_size_of_a_row(tmp_path: Path) -> None:
    for path in (
        jsonl(tmp_path, {"ciphertext": BLOB, "owner": "t" * 500}),
        csv(tmp_path, f"ciphertext,owner\n{BLOB},{'t' * 500}\n"),
    ):
        (row,) = await rows_of(path)
        assert isinstance(row, Record)
        assert 500 + len(BLOB) < row.size_bytes < 540


async def test_the_same_in_csv(tmp_path: Path) -> None:
    text = f"id,owner,ciphertext,n,encryption_context\r\na,=x,{BLOB},1.50,{{}}\r\n"
    (row,) = await rows_of(csv(tmp_path, text))
    assert isinstance(row, Record)
    assert (row.ciphertext, row.encryption_context) == (BLOB, "{}")
    assert row.kept == {"owner": "=x", "n": "1.50"}


async def test_another_context_to_bind(tmp_path: Path) -> None:
    fields = Fields(ciphertext="ciphertext", destination_context="to")
    path = jsonl(
        tmp_path,
        {"ciphertext": BLOB, "encryption_context": {"a": "b"}, "to": {"c": "d"}},
        {"ciphertext": BLOB, "encryption_context": {"a": "b"}, "to": None},
        {"ciphertext": BLOB, "encryption_context": {"a": "b"}, "to": ""},
        {"ciphertext": BLOB, "encryption_context": {"a": "b"}},
    )
    found = await rows_of(path, fields)
    contexts = [
        (row.encryption_context, row.destination_context)
        for row in found
        if isinstance(row, Record)
    ]
    assert contexts == [('{"a":"b"}', to) for to in ('{"c":"d"}', None, None, '{"a":"b"}')]


async def test_an_envelope_brings_its_data_key(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        {"ciphertext": "AQ==", "mode": "envelope", "data_key": BLOB},
        {"ciphertext": BLOB, "mode": "other", "data_key": "anything"},
    )
    envelope, direct = await rows_of(path)
    assert isinstance(envelope, Record) and isinstance(direct, Record)
    assert envelope.data_key == BLOB
    assert direct.data_key is None


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({}, "NoCiphertext"),
        ({"ciphertext": ""}, "NoCiphertext"),
        ({"ciphertext": 5}, "InvalidCiphertext"),
        ({"ciphertext": "a b"}, "InvalidCiphertext"),
        ({"ciphertext": "A" * 70_000}, "InvalidCiphertext"),
        ({"ciphertext": "AQ==", "mode": "envelope"}, "InvalidCiphertext"),
        ({"ciphertext": "AQ==", "mode": "envelope", "data_key": 5}, "InvalidCiphertext"),
        ({"ciphertext": BLOB, "encryption_context": "no"}, "InvalidContext"),
    ],
)
async def test_rows_without_a_usable_ciphertext(
    tmp_path: Path, row: dict[str, Any], code: str
) -> None:
    (result,) = await rows_of(jsonl(tmp_path, {"owner": "team", **row}))
    assert isinstance(result, Result)
    assert (result.code, result.attempts, bool(result.kept)) == (code, 0, True)
    assert result.message and result.message.startswith("line 1: ")
    assert "70,000" in result.message or "A" * 20 not in result.message


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
async def test_what_had_failed_passes_through_with_its_kept_columns(
    tmp_path: Path, suffix: str
) -> None:
    row = {"seq": 9, "id": "a", "status": "failed", "class": "network", "code": "ConnectTimeout"}
    row |= {"attempts": 3, "owner": "team", "ciphertext": ""}
    if suffix == "jsonl":
        path = jsonl(tmp_path, row)
    else:
        path = csv(tmp_path, ",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n")
    fields = Fields(ciphertext="ciphertext", keep=("owner",))
    (result,) = await rows_of(path, fields)
    assert isinstance(result, Result)
    assert (result.seq, result.code, result.attempts) == (9, "ConnectTimeout", 3)
    owner = (result.kept or {})["owner"]
    assert (owner if suffix == "csv" else json.loads(bytes(owner))) == "team"


async def test_a_kept_column_that_is_not_there_is_told_in_csv_and_left_out_in_jsonl(
    tmp_path: Path,
) -> None:
    fields = Fields(keep=("owner",), required=frozenset(["owner"]))
    (row,) = await rows_of(jsonl(tmp_path, {"plaintext": "p"}), fields)
    assert isinstance(row, Record) and row.kept is None
    with pytest.raises(Exception, match="there is no column 'owner'"):
        await rows_of(csv(tmp_path, "id,plaintext\na,b\n"), fields)
