"""Both output formats give back every Result that they were given."""

from __future__ import annotations

import csv
import io

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms.csvtext import GUARDED_COLUMNS, unguard
from batchkms.errors import ConfigError
from batchkms.records import BASE_COLUMNS, ErrorClass, Result
from batchkms.sinks import open_sink
from batchkms.sinks.csv import CsvSink
from batchkms.sinks.jsonl import JsonlSink

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
_RISKY = st.builds(str.__add__, st.sampled_from("=+-@\t\r\n'\","), _TEXT)
_ANY = st.none() | _TEXT | _RISKY

RESULTS = st.builds(
    Result,
    seq=st.integers(1, 10**12),
    id=_TEXT | _RISKY,
    status=st.sampled_from(["ok", "failed"]),
    key_id=_ANY,
    ciphertext=st.none()
    | st.from_regex(r"[A-Za-z0-9+/=]{1,80}-k-[A-Za-z0-9+/=]{1,30}", fullmatch=True),
    encryption_context=_ANY,
    error_class=st.none() | st.sampled_from(ErrorClass),
    code=_ANY,
    message=_ANY,
    request_id=_ANY,
    attempts=st.integers(0, 1000),
    latency_ms=st.none() | st.floats(0, 1e6).map(lambda ms: round(ms, 3)),
)


@given(st.lists(RESULTS, max_size=5))
def test_jsonl_gives_back_every_result(results: list[Result]) -> None:
    sink = JsonlSink()
    written = b"".join([sink.header(), *sink.encode(results)])
    lines = written.split(b"\n")
    assert lines.pop() == b""
    assert [msgspec.json.decode(line, type=Result) for line in lines] == results


@given(st.lists(RESULTS, max_size=5))
def test_csv_gives_back_every_result(results: list[Result]) -> None:
    sink = CsvSink()
    written = b"".join([sink.header(), *sink.encode(results)]).decode()
    assert written.endswith("\r\n")
    table = csv.reader(io.StringIO(written, newline=""), strict=True)
    assert next(table) == list(BASE_COLUMNS)
    read = []
    for cells in table:
        row = {
            name: unguard(cell) if name in GUARDED_COLUMNS else cell
            for name, cell in zip(BASE_COLUMNS, cells, strict=True)
            if cell
        }
        read.append(msgspec.convert(row, Result, strict=False))
    assert read == results


OWN = ("source_key_id", "reencrypted", "mode", "data_key", "plaintext", "encoding")
KEPT = ("owner", "=cmd", "a,b")

OWN_RESULTS = st.builds(
    Result,
    seq=st.integers(1, 10**12),
    id=_TEXT,
    status=st.just("ok"),
    attempts=st.integers(0, 9),
    source_key_id=_ANY,
    reencrypted=st.none() | st.booleans(),
    mode=st.none() | st.just("envelope"),
    data_key=_ANY,
    plaintext=_ANY,
    encoding=st.none() | st.sampled_from(["utf8", "base64"]),
    kept=st.none() | st.dictionaries(st.sampled_from(KEPT), _TEXT, max_size=3),
)


@given(OWN_RESULTS)
def test_the_columns_of_an_operation_and_kept_ones_come_after_the_others(result: Result) -> None:
    sink = CsvSink((*OWN, *KEPT))
    written = b"".join([sink.header(), *sink.encode([result])]).decode()
    header, cells = csv.reader(io.StringIO(written, newline=""), strict=True)
    assert header == [*BASE_COLUMNS, *OWN, *KEPT]
    row = dict(zip(header, cells, strict=True))
    assert {name: row[name] for name in KEPT if row[name]} == (result.kept or {})
    read = msgspec.convert(
        {
            name: unguard(row[name]) if name in GUARDED_COLUMNS else row[name]
            for name in (*BASE_COLUMNS, *OWN)
            if row[name]
        },
        Result,
        strict=False,
    )
    kept, result.kept = result.kept, None
    assert read == result
    result.kept = kept


@given(OWN_RESULTS)
def test_kept_values_stand_in_the_row_itself_in_jsonl(result: Result) -> None:
    row = msgspec.json.decode(JsonlSink().encode([result])[0])
    assert {name: row.pop(name) for name in KEPT if name in row} == (result.kept or {})
    assert msgspec.convert(row, Result).seq == result.seq


def test_kept_json_values_are_written_as_they_came() -> None:
    kept = {"n": msgspec.Raw(b"1.10"), "o": msgspec.Raw(b'{"a": 1}'), "s": msgspec.Raw(b'"x\\n"')}
    result = Result(seq=1, id="a", status="ok", attempts=1, kept=kept)
    assert b'"n":1.10,"o":{"a": 1},"s":"x\\n"}' in JsonlSink().encode([result])[0]
    cells = next(csv.reader(io.StringIO(CsvSink(("n", "o", "s")).encode([result])[0].decode())))
    assert cells[-3:] == ["1.10", '{"a": 1}', "x\n"]


@given(RESULTS)
def test_no_guarded_cell_begins_as_a_formula(result: Result) -> None:
    table = csv.reader(io.StringIO(CsvSink().encode([result])[0].decode(), newline=""))
    row = dict(zip(BASE_COLUMNS, next(table), strict=True))
    for name in GUARDED_COLUMNS:
        assert not row[name].startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_ciphertext_is_written_as_it_is_even_if_it_looks_like_a_formula() -> None:
    result = Result(seq=1, id="a", status="ok", ciphertext="+/==-k-AA==", attempts=1)
    assert b"+/==-k-AA==" in CsvSink().encode([result])[0].split(b",")


def test_empty_fields_are_left_out_of_jsonl() -> None:
    result = Result(seq=7, id="a", status="failed", attempts=0)
    expected = b'{"seq":7,"id":"a","status":"failed","attempts":0}\n'
    assert JsonlSink().encode([result]) == [expected]


def test_the_columns_are_the_contract() -> None:
    assert list(BASE_COLUMNS) == [
        *("seq", "id", "status", "key_id", "ciphertext", "encryption_context"),
        *("class", "code", "message", "request_id", "attempts", "latency_ms"),
    ]


@pytest.mark.parametrize(
    ("path", "format", "expected"),
    [
        ("out.jsonl", None, "jsonl"),
        ("out.ndjson", None, "jsonl"),
        ("OUT.CSV", None, "csv"),
        ("out.csv", "jsonl", "jsonl"),
        ("out.txt", "csv", "csv"),
        ("-", None, "jsonl"),
        ("-", "csv", "csv"),
    ],
)
def test_the_format_is_the_one_named_or_told_by_the_suffix(
    path: str, format: str | None, expected: str
) -> None:
    assert open_sink(path, format=format).format == expected


@pytest.mark.parametrize("path", ["out", "out.txt", "out.jsonl.gz", "out.csv.zst"])
def test_other_suffixes_are_refused(path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_sink(path)
    assert path in caught.value.message
    assert caught.value.hint
