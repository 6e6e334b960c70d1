"""The values of a good row: plaintext as bytes, the context that is sent, the key."""

from __future__ import annotations

import base64
import json

import pytest

from batchkms.records import MAX_CONTEXT_CHARACTERS, MAX_PLAINTEXT_BYTES
from batchkms.sources.base import Encoding, Fields
from tests.sources.given import csv_reader, jsonl_reader, only, outcome, record

KEYED = Fields(key="key")


def _jsonl(**members: object) -> bytes:
    return json.dumps(members).encode()


@pytest.mark.parametrize(
    ("encoding", "written", "plaintext"),
    [
        ("utf8", "密" * 1_365 + "a", ("密" * 1_365 + "a").encode()),
        ("base64", base64.b64encode(bytes(4_096)).decode(), bytes(4_096)),
        ("base64", "QQ==", b"A"),
        ("hex", "00fF" * 2_048, b"\0\xff" * 2_048),
    ],
)
def test_plaintext_up_to_the_limit_is_decoded(
    encoding: Encoding, written: str, plaintext: bytes
) -> None:
    assert len(plaintext) in (1, MAX_PLAINTEXT_BYTES)
    fields = Fields(encoding=encoding)
    jsonl = outcome(jsonl_reader(fields=fields), [_jsonl(plaintext=written)])
    csv = outcome(csv_reader(fields=fields), [f"plaintext\n{written}\n".encode()])
    assert record(only(jsonl.rows)).plaintext == record(only(csv.rows)).plaintext == plaintext


@pytest.mark.parametrize(
    ("context", "sent"),
    [
        ('{ "b" : "2",\n"a":"\\u4e2d"}', None),
        ("{}", None),
        ('{"a": "1", "a": "2"}', None),
        ({"b": "2", "a": "中"}, '{"b":"2","a":"中"}'),
        ({}, "{}"),
        ({"k": "v" * (MAX_CONTEXT_CHARACTERS - 8)}, '{"k":"' + "v" * 1_016 + '"}'),
        ('{"k": "' + "中" * (MAX_CONTEXT_CHARACTERS - 9) + '"}', None),
    ],
)
def test_a_context_is_sent_verbatim_or_as_compact_json(context: object, sent: str | None) -> None:
    row = only(outcome(jsonl_reader(), [_jsonl(plaintext="x", encryption_context=context)]).rows)
    assert record(row).encryption_context == (sent or context)


@pytest.mark.parametrize("none", [None, ""])
def test_an_empty_context_is_none(none: object) -> None:
    row = only(outcome(jsonl_reader(), [_jsonl(plaintext="x", encryption_context=none)]).rows)
    assert record(row).encryption_context is None


def test_a_row_names_its_own_key_only_where_the_job_looks_for_one() -> None:
    data = _jsonl(plaintext="x", key="key-1")
    assert record(only(outcome(jsonl_reader(fields=KEYED), [data]).rows)).key_id == "key-1"
    assert record(only(outcome(jsonl_reader(), [data]).rows)).key_id is None
    unnamed = outcome(jsonl_reader(fields=KEYED), [_jsonl(plaintext="x")])
    assert record(only(unnamed.rows)).key_id is None
