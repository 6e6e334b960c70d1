"""A result file as input: `seq` is kept, and what had failed passes through without being sent."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkms.csvtext import GUARDED_COLUMNS, guard
from batchkms.records import EarlierResult, ErrorClass, Record, Result
from batchkms.sources.base import Fields
from tests.sources.given import Outcome, csv_reader, failure, jsonl_reader, outcome, record

COLUMNS = [
    *("seq", "id", "status", "key_id", "ciphertext", "encryption_context"),
    *("class", "code", "message", "request_id", "attempts", "latency_ms"),
]
FIELDS = Fields(plaintext="ciphertext", encoding="base64", key="key_id")

_TEXT = st.text(st.sampled_from("=+-@'\t\r\n\",a 中"), min_size=1, max_size=8)
_OK = st.builds(
    Result,
    seq=st.integers(1, 2**63 - 1),
    id=_TEXT,
    status=st.just("ok"),
    ciphertext=st.just("Y2lwaGVydGV4dA=="),
    encryption_context=st.none() | st.just('{"a": "=1"}'),
    attempts=st.integers(1, 9),
    latency_ms=st.floats(0, 1e6),
)
_FAILED = st.builds(
    Result,
    seq=st.integers(1, 2**63 - 1),
    id=_TEXT,
    status=st.just("failed"),
    key_id=st.none() | _TEXT,
    encryption_context=st.none() | st.just('{"a": "=1"}'),
    error_class=st.sampled_from(ErrorClass),
    code=_TEXT,
    message=st.none() | _TEXT,
    request_id=st.none() | _TEXT,
    attempts=st.integers(0, 2**63 - 1),
    latency_ms=st.none() | st.floats(0, 1e6),
)


def from_jsonl(results: list[Result]) -> Outcome:
    """The rows of a JSONL result file."""
    data = b"".join(msgspec.json.encode(result) + b"\n" for result in results)
    return outcome(jsonl_reader(fields=FIELDS), [data])


def from_csv(results: list[Result]) -> Outcome:
    """The rows of a CSV result file, its text guarded against formulas and quoted."""
    lines = [",".join(COLUMNS)]
    for result in results:
        row = msgspec.to_builtins(result)
        lines.append(",".join(_cell(name, row.get(name)) for name in COLUMNS))
    return outcome(csv_reader(fields=FIELDS), ["\r\n".join([*lines, ""]).encode()])


def _cell(name: str, value: object) -> str:
    text = "" if value is None else str(value)
    if name in GUARDED_COLUMNS:
        text = guard(text)
    return '"' + text.replace('"', '""') + '"'


def _expected(result: Result) -> Record | Result:
    if result.ok:
        return Record(
            seq=result.seq,
            id=result.id,
            plaintext=b"ciphertext",
            encryption_context=result.encryption_context,
        )
    earlier = msgspec.structs.asdict(result) | {"latency_ms": None}
    return EarlierResult(**earlier)


@settings(max_examples=150, deadline=None)
@given(results=st.lists(_OK | _FAILED, min_size=1, max_size=5))
def test_rows_of_a_result_file_come_back(results: list[Result]) -> None:
    expected = [_expected(result) for result in results]
    assert from_jsonl(results).rows == expected
    assert from_csv(results).rows == expected


def test_an_id_that_was_guarded_comes_back_as_it_was() -> None:
    ids = ["=1+1", "'=1", "''", "-5", "@x", "plain", "\tx", "\r\nx"]
    results = [
        Result(seq=i, id=each, status="ok", ciphertext="QQ==", attempts=1)
        for i, each in enumerate(ids, 40)
    ]
    assert [(row.seq, row.id) for row in from_csv(results).rows] == [*enumerate(ids, 40)]


def test_only_result_rows_are_taken_for_guarded() -> None:
    """An apostrophe in an inventory of other columns is text, a column `status` or not."""
    for header in ("id,plaintext", "id,plaintext,status", "id,plaintext,seq"):
        line = "'=1,x" + ",ok" * header.endswith("status") + ",7" * header.endswith("seq")
        row = record(outcome(csv_reader(), [f"{header}\n{line}\n".encode()]).rows[0])
        assert (row.seq, row.id) == (1, "'=1")


def test_among_result_rows_one_of_another_status_is_an_inventory_row() -> None:
    lines = ["seq,id,status,plaintext", "70,'=1,ok,x", "71,'=1,new,x", ",'=1,ok,x"]
    rows = outcome(csv_reader(), ["\n".join(lines).encode()]).rows
    assert [(row.seq, row.id) for row in rows] == [(70, "=1"), (2, "'=1"), (3, "'=1")]


def test_a_failed_row_brings_no_ciphertext_and_no_latency_along() -> None:
    """Its latency was of another run, and what it failed to make is nothing to keep."""
    row: dict[str, Any] = {"seq": 9, "id": "a", "status": "failed", "class": "internal"}
    row |= {"code": "InternalError", "attempts": 8, "ciphertext": "QQ==", "latency_ms": 12.5}
    kept = failure(outcome(jsonl_reader(fields=FIELDS), [json.dumps(row).encode()]).rows[0])
    assert (kept.seq, kept.error_class, kept.attempts) == (9, ErrorClass.INTERNAL, 8)
    assert (kept.ciphertext, kept.latency_ms) == (None, None)


_SECRET = "hunter2SECRET"
_NOT_SENT = {"seq": 1, "id": "a", "status": "failed", "class": "internal"}
_NOT_SENT |= {"code": "InternalError", "attempts": 8}
_SECRETIVE = {
    **{"ciphertext": "QQ==", "data_key": "QQ==", "mode": "envelope", "plaintext": _SECRET},
    **{"encoding": "utf8", "source_key_id": "k", "reencrypted": True, "latency_ms": 1.5},
    "kept": {"a": _SECRET},
}


@pytest.mark.parametrize("fields", [Fields(), Fields(ciphertext="ciphertext")])
def test_a_failed_row_brings_only_what_says_how_it_failed(fields: Fields) -> None:
    lines = [json.dumps(_NOT_SENT | _SECRETIVE).encode()]
    kept = failure(outcome(jsonl_reader(fields=fields), lines).rows[0])
    assert msgspec.to_builtins(kept) == _NOT_SENT
    row = {**_NOT_SENT, "ciphertext": "QQ==", "plaintext": _SECRET, "encoding": "utf8"}
    text = f"{','.join(row)}\n{','.join(map(str, row.values()))}\n"
    kept = failure(outcome(csv_reader(fields=fields), [text.encode()]).rows[0])
    assert msgspec.to_builtins(kept) == _NOT_SENT


@pytest.mark.parametrize("value", [17, ["x"], {"a": 1}])
def test_a_failed_row_stays_one_whatever_its_other_columns_hold(value: object) -> None:
    row = _NOT_SENT | dict.fromkeys(_SECRETIVE.keys() - {"latency_ms"}, value)
    kept = failure(outcome(jsonl_reader(), [json.dumps(row).encode()]).rows[0])
    assert msgspec.to_builtins(kept) == _NOT_SENT


@pytest.mark.parametrize("column", ["plaintext", "password"])
@pytest.mark.parametrize("written", [_SECRET, "aHVudGVyMlNFQ1JFVA==", _SECRET.encode().hex()])
def test_what_a_failed_row_says_of_its_failure_does_not_repeat_its_plaintext(
    column: str, written: str
) -> None:
    row = {**_NOT_SENT, column: written, "message": f"{_SECRET} is not valid"}
    row |= {"code": f"Bad.{_SECRET}", "request_id": f"r-{_SECRET}"}
    fields = Fields(plaintext="password")
    kept = failure(outcome(jsonl_reader(fields=fields), [json.dumps(row).encode()]).rows[0])
    assert _SECRET not in json.dumps(msgspec.to_builtins(kept))
    assert (kept.seq, kept.code, kept.request_id) == (1, "EchoedPlaintext", None)
    assert kept.message == "[redacted] is not valid"


@pytest.mark.parametrize(
    "change",
    [
        {"seq": "x"},
        {"seq": 0},
        {"seq": -1},
        {"seq": 2**63},
        {"seq": 10**30},
        {"seq": True},
        {"seq": [1]},
        {"class": "no such class"},
        {"class": None},
        {"code": None},
        {"attempts": None},
        {"attempts": -1},
        {"attempts": 2**63},
        {"id": None},
        {"id": {"a": 1}},
        {"latency_ms": "soon"},
    ],
)
def test_a_damaged_result_row_fails_alone_under_a_free_number(change: dict[str, object]) -> None:
    good: dict[str, object] = {
        "seq": 70,
        "id": "a",
        "status": "failed",
        "class": "internal",
        "code": "X",
    }
    good["attempts"] = 1
    rows = [{**good, "seq": 1}, {**good, **change}, {**good, "seq": 3}]
    data = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    found = outcome(jsonl_reader(fields=FIELDS), [data])
    assert [(row.seq, row.id) for row in found.rows] == [(1, "a"), (3, "a"), (2, "2")]
    assert found.codes == ["X", "X", "InvalidResultRow"]


@pytest.mark.parametrize("seq", ["x", "0", "-1", str(2**63), "9" * 40, "9" * 5_000, "1.5", "null"])
def test_a_damaged_seq_in_csv_fails_alone(seq: str) -> None:
    lines = ["seq,id,status,ciphertext", "70,a,ok,QQ==", f"{seq},b,ok,QQ==", "71,c,ok,QQ=="]
    found = outcome(csv_reader(fields=FIELDS), ["\n".join(lines).encode()])
    assert [row.seq for row in found.rows] == [70, 71, 1]
    assert found.codes == [None, None, "InvalidResultRow"]


def test_a_row_that_was_ok_is_checked_like_any_other_and_keeps_its_seq() -> None:
    data = b'{"seq":70,"id":"a","status":"ok","attempts":1}'
    kept = failure(outcome(jsonl_reader(fields=FIELDS), [data]).rows[0])
    assert (kept.seq, kept.code) == (70, "MissingPlaintext")


@pytest.mark.parametrize("status", ["new", "", None, 1, ["ok"], "OK"])
def test_another_status_is_no_result_row(status: object) -> None:
    data = json.dumps({"seq": 70, "status": status, "plaintext": "x"}).encode()
    assert record(outcome(jsonl_reader(), [data]).rows[0]).seq == 1
