"""The values that flow: the columns of a result, and what a record does not show."""

from __future__ import annotations

import traceback

import msgspec
import pytest

from batchkms.records import BASE_COLUMNS, ErrorClass, Record, Result, rejected

OWN_COLUMNS = "source_key_id reencrypted mode data_key plaintext encoding"
"""Those of single operations."""


def test_the_columns_of_a_result_in_their_order() -> None:
    columns = (*BASE_COLUMNS, *OWN_COLUMNS.split(), "kept")
    assert Result.__struct_encode_fields__ == columns


def test_empty_fields_are_left_out() -> None:
    row = Result(seq=1, id="a", status="ok", key_id="k", ciphertext="c", attempts=1)
    assert msgspec.json.encode(row) == (
        b'{"seq":1,"id":"a","status":"ok","key_id":"k","ciphertext":"c","attempts":1}'
    )
    failed = rejected(2, None, "InvalidJson", "line 2 is no JSON")
    assert msgspec.json.encode(failed) == (
        b'{"seq":2,"id":"2","status":"failed","class":"invalid_record","code":"InvalidJson",'
        b'"message":"line 2 is no JSON","attempts":0}'
    )
    assert (row.ok, failed.ok) == (True, False)


def test_a_result_survives_its_own_json() -> None:
    row = Result(
        seq=1,
        id="ü\n",
        status="failed",
        key_id="k",
        encryption_context='{"a":"b"}',
        error_class=ErrorClass.THROTTLED,
        code="RequestLimitExceeded",
        message="m",
        request_id="r",
        attempts=8,
        latency_ms=1.25,
    )
    assert msgspec.json.decode(msgspec.json.encode(row), type=Result) == row


@pytest.mark.parametrize("row_id", [None, ""])
def test_a_rejected_row_without_an_id_has_its_ordinal(row_id: str | None) -> None:
    assert rejected(7, row_id, "InvalidJson", "m").id == "7"
    assert rejected(7, "a", "InvalidJson", "m", encryption_context="{}").encryption_context == "{}"


def test_a_record_never_shows_its_plaintext() -> None:
    row = Record(seq=1, id="a", plaintext=b"correct horse", encryption_context='{"a":"b"}')
    try:
        row.seq = 2  # type: ignore[misc]  # that it cannot be changed is the point
    except AttributeError as error:
        shown = "".join(traceback.format_exception(error))
    shown += f"{row!r} {row} {[row]} {(1, row)}"
    assert "horse" not in shown
    assert "13 bytes" in shown


def test_a_result_never_shows_its_plaintext() -> None:
    row = Result(seq=1, id="a", status="ok", plaintext="correct horse", attempts=1)
    assert "horse" not in f"{row!r} {row} {[row]}"


def test_the_size_of_a_record() -> None:
    row = Record(seq=1, id="four", plaintext=b"x" * 100, encryption_context="c" * 20)
    assert row.size_bytes == 124
    assert Record(seq=1, id="", plaintext=b"").size_bytes == 0
    envelope = Record(seq=1, id="", ciphertext="c" * 300, data_key="k" * 200)
    assert envelope.size_bytes == 500


def test_the_size_of_a_result() -> None:
    assert Result(seq=1, id="a", status="ok", ciphertext="c" * 300, attempts=1).size_bytes == 300
    assert Result(seq=1, id="a", status="ok", plaintext="p" * 200, attempts=1).size_bytes == 200


def test_the_classes_of_the_contract() -> None:
    assert [error_class.value for error_class in ErrorClass] == [
        "invalid_record",
        "invalid_request",
        "key_unavailable",
        "unauthorized",
        "throttled",
        "internal",
        "network",
        "protocol",
        "unknown",
    ]
