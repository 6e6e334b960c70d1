"""JSON Lines: what is a row, what fails alone, and that the chunks do not matter."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkms.errors import InputError
from batchkms.sources import open_source
from batchkms.sources.base import Fields, unseen_texts
from batchkms.sources.jsonl import JsonlReader
from batchkms.sources.rows import RowMapper
from tests.sources.given import LONGEST, cut, failure, jsonl_reader, only, outcome, record

GOOD = b'{"plaintext": "x"}'
PLACES = st.lists(st.integers(0, 80), max_size=8)
LINES = st.lists(
    st.sampled_from([GOOD, b"", b"\r", b" ", b"{", b"\xff", GOOD + b"\r", b'"x"', GOOD + b" " * 40])
)


@settings(max_examples=200, deadline=None)
@given(lines=LINES, places=PLACES)
def test_each_line_is_a_row_unless_it_is_blank(lines: list[bytes], places: list[int]) -> None:
    codes = {b"{": "InvalidJson", b"\xff": "InvalidUtf8", b'"x"': "NotAnObject"}
    found = outcome(jsonl_reader(longest=50), cut(b"\n".join(lines), places))
    assert found.error is None
    assert found.codes == [
        "RowTooLong" if len(line) > 50 else codes.get(line) for line in lines if line.strip()
    ]
    assert [row.seq for row in found.rows] == [*range(1, len(found.rows) + 1)]


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=60), places=PLACES)
def test_bytes_of_any_kind_never_crash_it(data: bytes, places: list[int]) -> None:
    whole = outcome(jsonl_reader(), [data])
    assert outcome(jsonl_reader(), cut(data, places)).comparable() == whole.comparable()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(
    row=st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(("id", "plaintext", "encryption_context", "key", "seq"), _JSON)
        | {"status": st.sampled_from(["ok", "failed", "new"]) | _JSON},
    )
)
def test_an_object_of_any_values_is_one_row(row: dict[str, object]) -> None:
    """NaN and lone surrogates included, which the standard library writes and JSON forbids."""
    fields = Fields(key="key", context="encryption_context")
    found = outcome(jsonl_reader(fields=fields), [json.dumps(row).encode() + b"\n" + GOOD])
    assert found.error is None
    assert [row.seq for row in found.rows][1:] == [2]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (b'{"plaintext": "\\ud800"}', "InvalidJson"),
        (b'{"id": "\\udfff", "plaintext": "x"}', "InvalidJson"),
        (b'{"id": 123456789012345678901234567890, "plaintext": "x"}', "InvalidId"),
        (b'{"id": ' + b"9" * 400 + b', "plaintext": "x"}', "InvalidJson"),
        (b'{"id": NaN, "plaintext": "x"}', "InvalidJson"),
        (b"[" * 10_000 + b"]" * 10_000, "InvalidJson"),
        (b'{"plaintext":' * 10_000 + b"1" + b"}" * 10_000, "InvalidJson"),
        (b'{"plaintext": "x", "other": ' + b"[" * 500 + b"]" * 500 + b"}", None),
        (b'{"plaintext": "x", "encryption_context": ' + b"[" * 500 + b"]" * 500 + b"}", "Context"),
        (b'{"plaintext": "x", "encryption_context": "' + b"[" * 9_000 + b'"}', "Context"),
        (b'{"plaintext": ' + b'{"a":' * 500 + b"1" + b"}" * 501, "InvalidPlaintext"),
    ],
)
def test_one_odd_row_fails_alone(row: bytes, code: str | None) -> None:
    found = outcome(jsonl_reader(), [GOOD + b"\n" + row + b"\n" + GOOD + b"\n"])
    assert found.error is None
    assert found.codes == [None, "InvalidContext" if code == "Context" else code, None]


def test_a_nul_character_is_text_like_any_other() -> None:
    row = only(outcome(jsonl_reader(), [b'{"id": "a\\u0000", "plaintext": "\\u0000"}']).rows)
    assert (record(row).id, record(row).plaintext) == ("a\0", b"\0")


def test_of_a_repeated_key_the_last_one_counts() -> None:
    row = only(outcome(jsonl_reader(), [b'{"plaintext": "first", "plaintext": "last"}']).rows)
    assert record(row).plaintext == b"last"


@pytest.mark.parametrize(
    ("given_id", "told"),
    [('"a/b"', "a/b"), ("17", "17"), ("-3", "-3"), ('""', "1"), ("null", "1"), ('" "', " ")],
)
def test_an_id_is_kept_or_is_the_ordinal(given_id: str, told: str) -> None:
    row = only(outcome(jsonl_reader(), [f'{{"id":{given_id},"plaintext":"x"}}'.encode()]).rows)
    assert record(row).id == told


def test_ids_may_repeat() -> None:
    found = outcome(jsonl_reader(), [b'{"id":"a","plaintext":"x"}\n' * 2])
    assert [(row.seq, row.id) for row in found.rows] == [(1, "a"), (2, "a")]


@pytest.mark.parametrize("begin", [b"[", b"\n \n [", b'[{"plaintext":"x"},', b"[" + b"x" * 90])
def test_an_array_is_refused_before_the_first_row(begin: bytes) -> None:
    data = begin + b'\n{"plaintext":"x"}\n]\n'
    for size in (1, 3, len(data)):
        chunks = [data[i : i + size] for i in range(0, len(data), size)]
        found = outcome(jsonl_reader(longest=64), chunks)
        assert not found.rows
        assert isinstance(found.error, InputError)
        assert "JSON array" in found.error.message
        assert "jq" in (found.error.hint or "")


def test_a_bracket_later_in_a_long_first_line_is_no_array() -> None:
    long = b'{"plaintext": "' + b"[" * 200 + b'"}\n'
    chunks = [long[i : i + 10] for i in range(0, len(long), 10)]
    assert outcome(jsonl_reader(longest=64), [*chunks, GOOD]).codes == ["RowTooLong", None]


def test_the_cap_counts_the_bytes_of_the_line() -> None:
    row = b'{"plaintext":"' + b"x" * 48 + b'"}'
    assert len(row) == 64
    rows = outcome(jsonl_reader(longest=64), [row + b"\n", row[:-2] + b'x"}\n', row]).rows
    assert record(rows[0]).seq == 1
    assert failure(rows[1]).message == (
        "line 2: the row has more than 64 bytes; take out what is not needed of it"
    )
    assert record(rows[2]).seq == 3


def test_blank_lines_count_as_lines_and_not_as_rows() -> None:
    rows = outcome(jsonl_reader(), [b'\n{"plaintext":"x"}\n\r\n  \n{\n']).rows
    assert [row.seq for row in rows] == [1, 2]
    assert (failure(rows[1]).message or "").startswith("line 5: ")


async def test_fields_that_no_row_has_are_told_with_their_options(tmp_path: Path) -> None:
    rows = [{"plaintext": "a"}, {"plaintext": "b", "ctx": None}, ["cmk"], {"status": "ok", "k": 1}]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    named = frozenset(("name", "cmk", "ctx", "k", "kk"))
    fields = Fields(id="name", key="cmk", context="ctx", keep=("k", "kk"), required=named)
    source = open_source(str(path), fields=fields)
    async for _ in source.batches():
        pass
    assert source.unseen == {"cmk": "--key-field", "kk": "--keep", "name": "--id-field"}
    assert (
        unseen_texts(source.unseen)[0] == "no row has a field 'cmk' (--key-field): check its name"
    )


def test_a_kept_column_that_is_nested_too_deeply_is_not_lost_in_silence() -> None:
    reader = JsonlReader(RowMapper(Fields()), name="in", longest_row_bytes=LONGEST, keep=["owner"])
    deep = b"[" * 1_010 + b"]" * 1_010
    rows = [b'{"plaintext":"x","owner":"o","a":%b}' % deep, b'{"plaintext":"x","owner":"o"}']
    found = outcome(reader, [b"\n".join(rows)])
    assert found.codes == ["InvalidJson", None]
    assert "line 1: a value of the row is nested too deeply" in str(failure(found.rows[0]).message)
    assert record(found.rows[1]).kept == {"owner": msgspec.Raw(b'"o"')}
