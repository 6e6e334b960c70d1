"""CSV headers that cannot be used are refused before the first row, with what to do."""

from __future__ import annotations

import pytest

from batchkms.errors import InputError
from batchkms.sources.base import Fields
from tests.sources.given import csv_reader, only, outcome, record

NO_HEADER = "a file without a header line needs one"


def refusal(header: bytes, fields: Fields | None = None, *, longest: int = 1_000) -> InputError:
    """The error for this header, which must come before any row and in any chunks."""
    data = header + b"\na,secret-1\n"
    whole, split = (
        outcome(csv_reader(fields=fields, longest=longest), chunks)
        for chunks in ([data], [bytes([byte]) for byte in data])
    )
    assert not whole.rows
    assert isinstance(whole.error, InputError)
    assert whole.comparable() == split.comparable()
    assert "secret" not in whole.told
    assert whole.error.hint
    return whole.error


@pytest.mark.parametrize(
    ("header", "message", "hint"),
    [
        (
            b"id,plain_text",
            "there is no column 'plaintext'; there are 'id', 'plain_text'",
            f"is it 'plain_text'? Then add --plaintext-field; {NO_HEADER}",
        ),
        (
            b"id,Plaintext",
            "there is no column 'plaintext'; there are 'id', 'Plaintext'",
            f"is it 'Plaintext'? Then add --plaintext-field; {NO_HEADER}",
        ),
        (
            b"name,value",
            "there is no column 'plaintext' among the 2 of the first line",
            f"name it with --plaintext-field; {NO_HEADER}",
        ),
        (
            b"id;plaintext",
            "the columns are separated by semicolons",
            "write the file anew with commas between the columns",
        ),
        (
            b"id\tplaintext",
            "the columns are separated by tabs",
            "write the file anew with commas between the columns",
        ),
        (
            b"plaintext|id",
            "the columns are separated by bars",
            "write the file anew with commas between the columns",
        ),
        (
            b"id,plaintext,plaintext",
            "2 columns are named 'plaintext'",
            "give each column a name of its own, or choose another with --plaintext-field",
        ),
        (
            b"id,plaintext,id,id",
            "3 columns are named 'id'",
            "give each column a name of its own, or choose another with --id-field",
        ),
        (
            b"encryption_context,plaintext,encryption_context",
            "2 columns are named 'encryption_context'",
            "give each column a name of its own, or choose another with --context-field",
        ),
        (
            b"id,plaintext,x\ra,secret-1,y\rb,secret-2,z",
            "the lines end in a carriage return alone",
            "convert it: tr '\\r' '\\n' < FILE | batchkms … - --format csv",
        ),
    ],
)
def test_a_header_that_cannot_be_used(header: bytes, message: str, hint: str) -> None:
    error = refusal(header)
    assert (error.message, error.hint) == (f"in.csv, line 1: {message}", hint)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b'"id"x,plaintext', "text follows the closing quote of a cell"),
        (b'"id";"plaintext"', "text follows the closing quote of a cell"),
        (b"id,plaintext,\xe4", "a cell of the row is no UTF-8"),
        (b"id,plaintext," + b"x" * 1_000, "the row has more than 1,000 bytes"),
    ],
)
def test_a_header_that_cannot_be_read(header: bytes, reason: str) -> None:
    error = refusal(header)
    assert error.message.startswith(f"in.csv, line 1: the header cannot be read: {reason}")


def test_the_line_is_the_one_the_header_stands_on() -> None:
    assert refusal(b"\n\r\nname,value").message.startswith("in.csv, line 3: ")


def test_a_field_that_was_asked_for_must_be_there() -> None:
    fields = Fields(id="name", key="cmk", required=frozenset({"name", "cmk"}))
    assert "no column 'name'" in refusal(b"id,plaintext,cmk", fields).message
    error = refusal(b"name,plaintext,key", fields)
    assert "no column 'cmk'" in error.message
    assert "--key-field" in (error.hint or "")


def test_fields_that_were_not_asked_for_may_be_missing() -> None:
    row = record(only(outcome(csv_reader(), [b"plaintext\nx\n"]).rows))
    assert (row.id, row.key_id, row.encryption_context) == ("1", None, None)


def test_other_columns_may_repeat_or_have_no_name() -> None:
    row = only(outcome(csv_reader(), [b',note,plaintext,note,""\n1,2,x,3,4\n']).rows)
    assert record(row).plaintext == b"x"


def test_a_column_name_may_hold_commas_quotes_and_line_ends() -> None:
    fields = Fields(plaintext='the "secret",\r\nso to say')
    header = b'id,"the ""secret"",\r\nso to say"\r\n'
    row = only(outcome(csv_reader(fields=fields), [header, b"a,x\r\n"]).rows)
    assert record(row).plaintext == b"x"


def test_a_first_line_without_any_known_name_is_not_repeated() -> None:
    """A file without a header begins with a row, and a row holds a secret."""
    error = refusal(b"prod/db,secret-0")
    assert error.message == (
        "in.csv, line 1: there is no column 'plaintext' among the 2 of the first line"
    )
