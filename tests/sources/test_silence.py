"""No message, error or repr holds any part of a row: its secret may stand anywhere in it."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from batchkms.records import Result
from batchkms.sources.base import Encoding, Fields
from tests.sources.given import csv_reader, failure, jsonl_reader, only, outcome, record

LONGEST = 10_000

_SECRETS = st.text(st.sampled_from("qQ7Zé🔐'\\"), min_size=6, max_size=20)
_WRAPPED = [
    '{{"plaintext": {0}, "id": []}}',
    '{{"plaintext": [{0}]}}',
    '{{"plaintext": {0}',
    '{{"plaintext": {0}}} {0}',
    "{{{0}: {0}}}",
    '{{"plaintext": {0}, "encryption_context": {0}}}',
    '{{"plaintext": {0}, "encryption_context": {{{0}: [{0}]}}}}',
    '{{"plaintext": {0}, "key": {{"a": {0}}}}}',
    '{{"plaintext": {0}, "seq": {0}, "status": "ok"}}',
    '{{"plaintext": {0}, "seq": 1, "status": "failed", "class": {0}, "id": "a", "attempts": 1}}',
    "{0}",
    "[1, {0}]",
]


@settings(max_examples=200, deadline=None)
@given(
    secret=_SECRETS, wrapped=st.sampled_from(_WRAPPED), encoding=st.sampled_from(["base64", "hex"])
)
def test_no_message_of_jsonl_holds_any_part_of_the_row(
    secret: str, wrapped: str, encoding: Encoding
) -> None:
    fields = Fields(key="key", encoding=encoding)
    row = wrapped.format(json.dumps(secret, ensure_ascii=False)).encode()
    for reader in (jsonl_reader(fields=fields), jsonl_reader(fields=fields, longest=20)):
        # The row of one blank object before it keeps an array from being refused as a whole.
        found = outcome(reader, [b"{}\n", row, b"\n"])
        assert len(found.rows) == 2
        _assert_silent(failure(found.rows[1]), secret)


_WRITTEN = [
    "{0}",
    'a,"{0}"{0},,',
    "{0},{0},{0},{0},{0}",
    '"{0}","{0}",x,{0}',
    "a,{0},{0},",
    "{0},,,",
    'a,"{0}\n{0}",,"\n"',
]


@settings(max_examples=200, deadline=None)
@given(
    secret=_SECRETS, written=st.sampled_from(_WRITTEN), encoding=st.sampled_from(["base64", "hex"])
)
def test_no_message_of_csv_holds_any_part_of_the_row(
    secret: str, written: str, encoding: Encoding
) -> None:
    fields = Fields(key="key", encoding=encoding)
    row = written.format(secret).encode()
    for longest in (LONGEST, 40):
        reader = csv_reader(fields=fields, longest=longest)
        found = outcome(reader, [b"id,plaintext,encryption_context,key\n", row, b"\n"])
        _assert_silent(failure(only(found.rows)), secret)


@settings(max_examples=100, deadline=None)
@given(secret=_SECRETS)
def test_no_error_of_the_input_holds_any_part_of_it(secret: str) -> None:
    """Neither a secret in the first line, where a header is missing, nor one in an open quote."""
    first_line = f"{secret},{secret}\n".encode()
    open_quote = f'plaintext\n"{secret}\n{secret}'.encode()
    not_closed = f'plaintext\n"{secret}\n"{secret}'.encode()
    array = json.dumps([{"plaintext": secret}], ensure_ascii=False).encode()
    for found in (
        *(outcome(csv_reader(), [data]) for data in (first_line, open_quote, not_closed)),
        outcome(jsonl_reader(), [array]),
    ):
        assert found.error is not None
        assert not found.rows
        assert secret[:6] not in found.told


def _assert_silent(result: Result, secret: str) -> None:
    parts = {secret[i : i + 6] for i in range(len(secret) - 5)}
    message = result.message or ""
    assert not any(part in message or repr(part)[1:-1] in message for part in parts)


def test_the_repr_of_a_record_does_not_show_its_plaintext() -> None:
    row = only(outcome(jsonl_reader(), [b'{"plaintext": "hunter2SECRET"}']).rows)
    assert record(row).plaintext == b"hunter2SECRET"
    assert "hunter2" not in f"{row!r} {row}"
