"""Every way in which a row is refused: each local code, in each format that can produce it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from batchkms.errors import VERDICTS
from batchkms.records import ErrorClass, Result
from batchkms.sources.base import Encoding, Fields
from tests.sources.given import (
    Outcome,
    csv_reader,
    failure,
    jsonl_reader,
    only,
    outcome,
)

CANARY = "hunter2SECRET"
LONGEST = 10_000


@dataclass(frozen=True)
class Bad:
    """A row that is refused: its code and, as far as they can, how both formats write it."""

    code: str
    jsonl: bytes
    csv: bytes | None = None
    """Under the header `id,plaintext,encryption_context,key`."""
    encoding: Encoding = "utf8"
    says: str = ""
    """What the message says, apart from the line."""


def _jsonl(**members: object) -> bytes:
    return json.dumps(members).encode()


C = CANARY
BAD_ROWS = [
    Bad("InvalidJson", f'{{"plaintext": "{C}'.encode(), says="no valid JSON at column"),
    Bad("InvalidJson", f'{{"plaintext": "{C}\\ud800"}}'.encode()),
    Bad("InvalidJson", f'{{"plaintext": {C}}}'.encode()),
    Bad("InvalidJson", f'{C} {{"plaintext": "x"}}'.encode()),
    Bad(
        "InvalidUtf8",
        f'{{"plaintext": "{C}\xff"}}'.encode("latin-1"),
        f"a,{C}\xff".encode("latin-1"),
    ),
    Bad("InvalidUtf8", f"{C}\xff".encode("latin-1"), f'a,"{C}\n\xff",,'.encode("latin-1")),
    Bad("NotAnObject", json.dumps(C).encode(), says="no JSON object"),
    Bad("NotAnObject", b"17"),
    Bad("RowTooLong", _jsonl(plaintext=C * 1_000), b"a," + C.encode() * 1_000, says="10,000 bytes"),
    Bad("InvalidId", _jsonl(id=[C], plaintext=C), says="the id is an array"),
    Bad("InvalidId", _jsonl(id={C: C}, plaintext=C), says="the id is an object"),
    Bad("InvalidId", _jsonl(id=1.5, plaintext=C), says="the id is a number"),
    Bad("InvalidId", _jsonl(id=True, plaintext=C), says="the id is a boolean"),
    Bad("InvalidKeyId", _jsonl(plaintext=C, key=[C]), says="an array"),
    Bad(
        "InvalidKeyId", _jsonl(plaintext=C, key=C * 10), f"a,x,,{C * 10}".encode(), says="130 char"
    ),
    Bad(
        "InvalidKeyId", _jsonl(plaintext=C, key=C + "\n"), f'a,x,,"{C}\n"'.encode(), says="control"
    ),
    Bad("MissingKeyId", _jsonl(plaintext=C), f"a,{C},,".encode(), says="--key-id"),
    Bad("MissingKeyId", _jsonl(plaintext=C, key="")),
    Bad("MissingPlaintext", _jsonl(secret=C, key="k"), says="'plaintext'"),
    Bad("MissingPlaintext", _jsonl(plaintext=None, secret=C, key="k"), says="--plaintext-field"),
    Bad(
        "EmptyPlaintext", _jsonl(plaintext="", other=C, key="k"), f"{C},,,k".encode(), says="empty"
    ),
    Bad("InvalidPlaintext", _jsonl(plaintext=[C], key="k"), says="an array"),
    Bad("InvalidPlaintext", _jsonl(plaintext={C: C}, key="k"), says="an object"),
    Bad("InvalidPlaintext", _jsonl(plaintext=17, key="k"), says="a number"),
    Bad("InvalidPlaintext", _jsonl(plaintext=False, key="k"), says="a boolean"),
    Bad("InvalidPlaintext", _jsonl(plaintext=C + "=", key="k"), f"a,{C}=,,k".encode(), "base64"),
    Bad("InvalidPlaintext", _jsonl(plaintext="é", key="k"), "a,é,,k".encode(), "base64"),
    Bad("InvalidPlaintext", _jsonl(plaintext="QQ", key="k"), b"a,QQ,,k", "base64"),
    Bad("InvalidPlaintext", _jsonl(plaintext="QR==", key="k"), b"a,QR==,,k", "base64"),
    Bad("InvalidPlaintext", _jsonl(plaintext="_-8=", key="k"), b"a,_-8=,,k", "base64"),
    Bad("InvalidPlaintext", _jsonl(plaintext="QQ==\n", key="k"), b'a,"QQ==\n",,k', "base64"),
    Bad("InvalidPlaintext", _jsonl(plaintext="====", key="k"), b"a,====,,k", "base64"),
    Bad("InvalidPlaintext", _jsonl(plaintext=C, key="k"), f"a,{C},,k".encode(), "hex"),
    Bad("InvalidPlaintext", _jsonl(plaintext="abc", key="k"), b"a,abc,,k", "hex"),
    Bad("InvalidPlaintext", _jsonl(plaintext="0x41", key="k"), b"a,0x41,,k", "hex"),
    Bad(
        "PlaintextTooLarge",
        _jsonl(plaintext=C + "x" * 4_084, key="k"),
        f"a,{C + 'x' * 4_084},,k".encode(),
        says="4,097 bytes",
    ),
    Bad("PlaintextTooLarge", _jsonl(plaintext="密" * 1_366, key="k"), says="4,098 bytes"),
    Bad("PlaintextTooLarge", _jsonl(plaintext="00" * 4_097, key="k"), encoding="hex"),
    Bad(
        "InvalidContext", _jsonl(plaintext=C, key="k", encryption_context=C), f"a,x,{C},k".encode()
    ),
    Bad("InvalidContext", _jsonl(plaintext=C, key="k", encryption_context=[C]), b"a,x,[],k"),
    Bad(
        "InvalidContext", _jsonl(plaintext=C, key="k", encryption_context={"a": 1}), says="strings"
    ),
    Bad("InvalidContext", _jsonl(plaintext=C, key="k", encryption_context={C: {C: C}})),
    Bad("InvalidContext", _jsonl(plaintext=C, key="k", encryption_context="{}{}"), b"a,x,{}{},k"),
    Bad("InvalidContext", _jsonl(plaintext=C, key="k", encryption_context=False)),
    Bad(
        "InvalidContext",
        _jsonl(plaintext=C, key="k", encryption_context={"a": C, "batchkms": C}),
        says="only those of data keys have",
    ),
    Bad(
        "InvalidContext",
        _jsonl(plaintext=C, key="k", encryption_context='{"batch\\u006bms": "envelope/1"}'),
        b'a,x,"{""batchkms"":""x"",""batchkms"":""envelope/1""}",k',
        says="only those of data keys have",
    ),
    Bad(
        "ContextTooLong",
        _jsonl(plaintext=C, key="k", encryption_context={"k": C + "v" * 1_004}),
        b'a,x,"' + json.dumps({"k": C + "v" * 1_004}).replace('"', '""').encode() + b'",k',
        says="more than the 1,024",
    ),
    Bad("WrongCellCount", b"", f"{C},{C}".encode(), says="2 cells and the header 4"),
    Bad("WrongCellCount", b"", f"a,{C},with,commas,k".encode(), says="5 cells and the header 4"),
    Bad("InvalidCsvRow", b"", f'a,"{C}"{C},,k'.encode(), says="closing quote"),
    Bad("InvalidResultRow", _jsonl(seq=C, status="ok", plaintext=C), says="seq column"),
    Bad(
        "InvalidResultRow", _jsonl(seq=0, status="ok", plaintext=C), says="its seq is out of range"
    ),
    Bad("InvalidResultRow", _jsonl(seq=1, status="failed", id="a", plaintext=C, attempts=C)),
    Bad(
        "InvalidResultRow", _jsonl(seq=1, status="failed", id=C, attempts=1), says="what had failed"
    ),
]
CASES = [pytest.param(bad, id=f"{i}-{bad.code}") for i, bad in enumerate(BAD_ROWS)]


def _from_jsonl(bad: Bad) -> Outcome:
    fields = Fields(key="key", encoding=bad.encoding)
    reader = jsonl_reader(fields=fields, needs_key=True, longest=LONGEST)
    return outcome(reader, [bad.jsonl + b"\n"])


def _from_csv(bad: Bad) -> Outcome:
    fields = Fields(key="key", encoding=bad.encoding)
    reader = csv_reader(fields=fields, needs_key=True, longest=LONGEST)
    return outcome(reader, [b"id,plaintext,encryption_context,key\n", bad.csv or b"", b"\n"])


def _found(bad: Bad) -> list[tuple[Result, int]]:
    """The failed row in each format that can write it, and the line it stands on."""
    found = []
    if bad.jsonl:
        found.append((failure(only(_from_jsonl(bad).rows)), 1))
    if bad.csv is not None:
        found.append((failure(only(_from_csv(bad).rows)), 2))
    return found


@pytest.mark.parametrize("bad", CASES)
def test_a_bad_row_becomes_a_failed_result(bad: Bad) -> None:
    for result, line in _found(bad):
        assert (result.error_class, result.code) == (ErrorClass.INVALID_RECORD, bad.code)
        assert (result.seq, result.attempts, result.ciphertext) == (1, 0, None)
        message = result.message or ""
        assert message.startswith(f"line {line}: ")
        assert bad.says in message
        assert CANARY not in message
        assert VERDICTS[bad.code].error_class is ErrorClass.INVALID_RECORD


def test_every_code_of_the_class_is_shown() -> None:
    ours = {code for code, v in VERDICTS.items() if v.error_class is ErrorClass.INVALID_RECORD}
    # Of ciphertexts alone (test_ciphertexts.py, test_envelope.py), and of exports (profiles).
    ours -= {"NoCiphertext", "InvalidCiphertext", "EnvelopeContext", "InvalidEnvelope"}
    ours.remove("InvalidEntry")
    assert {result.code for bad in BAD_ROWS for result, _ in _found(bad)} == ours


@pytest.mark.parametrize("bad", CASES)
def test_all_messages_of_a_code_end_with_what_to_do(bad: Bad) -> None:
    """The part after the last `;` is an instruction, so it has at least a verb and an object."""
    for result, _ in _found(bad):
        reason, _, advice = (result.message or "").rpartition("; ")
        told_alone = {"EmptyPlaintext", "InvalidCsvRow"}
        assert result.code in told_alone or (reason and len(advice.split()) >= 2)


def test_a_refused_row_keeps_its_id_and_its_context() -> None:
    row = only(
        outcome(
            jsonl_reader(), [_jsonl(id="a/b", plaintext="", encryption_context='{"a": "1"}')]
        ).rows
    )
    assert (failure(row).id, failure(row).encryption_context) == ("a/b", '{"a": "1"}')
