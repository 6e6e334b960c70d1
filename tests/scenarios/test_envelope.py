"""Envelopes from file to file: every size comes back, every edit of a row is found."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sys
from base64 import b64decode, b64encode
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from batchkms.csvtext import unguard
from batchkms.emulator import Emulator
from batchkms.records import MAX_ENVELOPE_BYTES
from tests.scenarios.conftest import Program
from tests.scenarios.dying import inventory, killed, results_in, secret
from tests.scenarios.ended import Ended, credentials, target

ROOT = Path(__file__).parent.parent.parent
CONTEXT = '{"env":"prod","所有者":"dba"}'
SIZES = (1, 4_096, 4_097, MAX_ENVELOPE_BYTES - 1, MAX_ENVELOPE_BYTES, MAX_ENVELOPE_BYTES + 1)

csv.field_size_limit(2 * MAX_ENVELOPE_BYTES)


def _written(rows: list[dict[str, str]], format: str) -> str:
    """Rows as an input file."""
    if format == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _rows(path: Path) -> dict[int, dict[str, Any]]:
    """The rows of a result file by their `seq`, without their empty fields."""
    rows = [{k: v for k, v in row.items() if v != ""} for row in results_in(path)]
    return {row["seq"]: row for row in rows}


async def _encrypted(
    batchkms: Program, kms: Emulator, rows: list[dict[str, str]], *more: str
) -> dict[str, Any]:
    """The result of the first of these rows; all are in `out.jsonl`."""
    batchkms.write("in.jsonl", _written(rows, "jsonl"))
    ended = await batchkms.beside(
        *("encrypt", "in.jsonl", "-o", "out.jsonl", "--mode", "envelope", *more, *target(kms)),
        environ=credentials(kms),
    )
    assert ended.code == 0, ended.stderr
    return next(iter(_rows(batchkms.folder / "out.jsonl").values()))


async def _decrypt(batchkms: Program, kms: Emulator, name: str, output: str) -> Ended:
    return await batchkms.beside(
        *("decrypt", name, "-o", output, "--endpoint", kms.endpoint), environ=credentials(kms)
    )


@pytest.mark.parametrize(
    ("how", "format", "encoding"),
    # Every two of these choices meet.
    [
        (("--mode", "envelope"), "jsonl", "utf8"),
        (("--mode", "envelope"), "csv", "base64"),
        (("--oversize", "envelope"), "jsonl", "base64"),
        (("--oversize", "envelope"), "csv", "utf8"),
    ],
)
async def test_every_size_comes_back_byte_for_byte(
    batchkms: Program, kms: Emulator, how: tuple[str, str], format: str, encoding: str
) -> None:
    byte = b"\xff" if encoding == "base64" else b"s"
    plaintexts = [(byte + b'"\n,' + b"x" * size)[:size] for size in SIZES]
    rows = [
        {
            "id": f"=行 {len(plaintext)}",
            "plaintext": b64encode(plaintext).decode()
            if encoding == "base64"
            else plaintext.decode(),
            "encryption_context": CONTEXT if len(plaintext) % 2 else "",
        }
        for plaintext in plaintexts
    ]
    batchkms.write(f"in.{format}", _written(rows, format))
    ended = await batchkms.beside(
        *("encrypt", f"in.{format}", "-o", f"out.{format}", "--encoding", encoding, *how),
        *target(kms),
        environ=credentials(kms),
    )
    assert (ended.code, ended.errors) == (1, []), ended.stderr
    results = _rows(batchkms.folder / f"out.{format}")
    modes = [results[seq].get("mode") for seq in range(1, 7)]
    here = "envelope"
    short = here if how[0] == "--mode" else None
    assert modes == [short, short, here, here, here, None]
    assert results[6]["code"] == "PlaintextTooLarge"
    assert "1,048,577 bytes" in results[6]["message"]
    assert len({row["data_key"] for row in results.values() if "data_key" in row}) == 1
    made = {action: told["calls"] for action, told in kms.stats.as_json()["actions"].items()}
    assert made.get("GenerateDataKey") == 1
    assert made.get("Encrypt", 0) == (0 if short else 2)

    ended = await _decrypt(batchkms, kms, f"out.{format}", f"back.{format}")
    assert (ended.code, ended.errors) == (1, []), ended.stderr
    back = _rows(batchkms.folder / f"back.{format}")
    for seq, plaintext in enumerate(plaintexts[:5], 1):
        row = back[seq]
        assert (row["status"], row["id"]) == ("ok", rows[seq - 1]["id"])
        assert row["key_id"] == kms.demo_key_id
        text = row["plaintext"] if format == "jsonl" else unguard(row["plaintext"])
        given = b64decode(text) if row["encoding"] == "base64" else text.encode()
        assert given == plaintext
    assert back[6]["code"] == "PlaintextTooLarge"


async def test_oversize_rows_fail_unless_envelopes_are_asked_for(
    batchkms: Program, kms: Emulator
) -> None:
    batchkms.write("in.jsonl", _written([{"id": "a", "plaintext": "x" * 4_097}], "jsonl"))
    ended = await batchkms.beside(
        "encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms), environ=credentials(kms)
    )
    assert ended.code == 1
    (row,) = _rows(batchkms.folder / "out.jsonl").values()
    assert row["code"] == "PlaintextTooLarge"
    assert row["message"].endswith("split it, or add --oversize envelope")


async def test_no_edit_of_a_row_goes_unnoticed(batchkms: Program, kms: Emulator) -> None:
    rows = [
        {"id": "db/1", "plaintext": "example one", "encryption_context": CONTEXT},
        {"id": "db/2", "plaintext": "example two", "encryption_context": CONTEXT},
    ]
    await _encrypted(batchkms, kms, rows, "--data-key-rows", "1")
    one, two = _rows(batchkms.folder / "out.jsonl").values()

    def flipped(field: str, at: int) -> str:
        if field != "ciphertext":
            text: str = one[field]
            return text[:at] + ("x" if text[at] != "x" else "y") + text[at + 1 :]
        sealed = bytearray(b64decode(one[field]))
        sealed[at] ^= 1
        return b64encode(sealed).decode()

    sealed_bytes = len(b64decode(one["ciphertext"]))
    refused, broken = "the service", "InvalidEnvelope"
    edits: list[tuple[dict[str, Any], str]] = [
        *(({"ciphertext": flipped("ciphertext", at)}, broken) for at in range(sealed_bytes)),
        *(({"id": flipped("id", at)}, broken) for at in range(len(one["id"]))),
        *(({"data_key": flipped("data_key", at)}, refused) for at in range(len(one["data_key"]))),
        ({"encryption_context": CONTEXT.replace("prod", "test")}, broken),
        ({"encryption_context": CONTEXT.replace(":", ": ")}, broken),
        ({"encryption_context": None}, broken),
        ({"ciphertext": two["ciphertext"]}, broken),
        ({"data_key": two["data_key"]}, broken),
        ({"ciphertext": two["ciphertext"], "data_key": two["data_key"]}, broken),
        ({"mode": None}, refused),
        ({"mode": None, "data_key": None}, refused),
        ({"mode": None, "ciphertext": one["data_key"]}, refused),
        ({"mode": None, "ciphertext": one["data_key"], "encryption_context": None}, refused),
    ]
    # A whole row each so often, so that the run does not stop as one where all rows fail.
    lines = []
    for edit, _ in edits:
        lines += [{**one, **edit}, {**one}]
    numbered = [{**row, "seq": seq} for seq, row in enumerate(lines, 1)]
    batchkms.write(
        "edited.jsonl",
        "".join(
            json.dumps({k: v for k, v in row.items() if v is not None}) + "\n" for row in numbered
        ),
    )
    ended = await _decrypt(batchkms, kms, "edited.jsonl", "back.jsonl")
    assert (ended.code, ended.errors) == (1, []), ended.stderr
    back = _rows(batchkms.folder / "back.jsonl")
    assert len(back) == len(numbered)
    for number, (edit, expected) in enumerate(edits):
        row, whole = back[2 * number + 1], back[2 * number + 2]
        assert whole["plaintext"] == "example one"
        assert (row["status"], row.get("plaintext")) == ("failed", None), edit
        if expected == broken:
            assert (row["class"], row["code"]) == ("invalid_record", "InvalidEnvelope"), edit
        else:
            assert row["class"] == "invalid_request", edit
    assert "example" not in "".join(row.get("message", "") for row in back.values())


async def test_a_context_like_that_of_data_keys_is_refused(
    batchkms: Program, kms: Emulator
) -> None:
    row = await _encrypted(batchkms, kms, [{"id": "a", "plaintext": "x"}])
    reserved = {"batchkms": "envelope/1"}
    moved = {"seq": 2, "id": "a", "status": "ok", "ciphertext": row["data_key"]}
    batchkms.write(
        "moved.jsonl", json.dumps({**moved, "encryption_context": json.dumps(reserved)}) + "\n"
    )
    before = kms.stats.as_json()["actions"].get("Decrypt")
    ended = await _decrypt(batchkms, kms, "moved.jsonl", "back.jsonl")
    assert ended.code == 1
    (failed,) = _rows(batchkms.folder / "back.jsonl").values()
    assert (failed["class"], failed["code"]) == ("invalid_record", "InvalidContext")
    assert "plaintext" not in failed
    assert kms.stats.as_json()["actions"].get("Decrypt") == before, "it is not even sent"


async def test_a_killed_run_is_resumed_with_data_keys_of_its_own(
    batchkms: Program, kms: Emulator
) -> None:
    rows = 40_000
    batchkms.write("in.jsonl", inventory("jsonl", rows=rows))
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", "--mode", "envelope", "--resume"]
    command += ["--data-key-rows", "1000", *target(kms)]
    # 40 data keys at this rate are four seconds, however fast rows are.
    await killed(batchkms, kms, [*command, "--rate", "10"], stdin=None, after_bytes=100_000)
    ended = await batchkms.beside(*command, "--summary", "json", environ=credentials(kms))
    assert ended.code == 0, ended.stderr
    summary = json.loads(ended.stdout)
    assert (summary["ok"], 0 < summary["kept"] < rows) == (rows, True)
    results = results_in(batchkms.folder / "out.jsonl")
    assert sorted(row["seq"] for row in results) == list(range(1, rows + 1))
    used = Counter((row["data_key"], row["ciphertext"][:16]) for row in results)
    assert max(used.values()) == 1, "a nonce was used twice"
    assert max(Counter(row["data_key"] for row in results).values()) <= 1_000
    ended = await _decrypt(batchkms, kms, "out.jsonl", "back.jsonl")
    assert ended.code == 0, ended.stderr
    back = results_in(batchkms.folder / "back.jsonl")
    assert len(back) == rows
    assert all(row["plaintext"] == secret(row["seq"]) for row in back)


async def test_reencrypted_envelopes_open_under_the_new_cmk(
    batchkms: Program, kms: Emulator
) -> None:
    row = await _encrypted(batchkms, kms, [{"id": "a", "plaintext": "example"}])
    ended = await batchkms.beside(
        *("reencrypt", "out.jsonl", "-o", "moved.jsonl", "--endpoint", kms.endpoint),
        environ=credentials(kms),
    )
    assert ended.code == 0, ended.stderr
    (moved,) = _rows(batchkms.folder / "moved.jsonl").values()
    assert moved["ciphertext"] == row["ciphertext"]
    assert (await _decrypt(batchkms, kms, "moved.jsonl", "back.jsonl")).code == 0
    (back,) = _rows(batchkms.folder / "back.jsonl").values()
    assert back["plaintext"] == "example"


@pytest.mark.parametrize("context", [None, CONTEXT])
@pytest.mark.parametrize("size", [1, 4_097, 1024 * 1024])
async def test_the_script_opens_a_row(
    batchkms: Program, kms: Emulator, context: str | None, size: int
) -> None:
    row = {"id": "数据库/口令", "plaintext": "x" * size}
    if context is not None:
        row["encryption_context"] = context
    await _encrypted(batchkms, kms, [row])
    host = kms.endpoint.removeprefix("http://")
    script = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "examples/open_envelope.py"), kms.region, "http", host),
        env=batchkms.environ(credentials(kms)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    opened, told = await script.communicate((batchkms.folder / "out.jsonl").read_bytes())
    assert script.returncode == 0, told.decode()
    assert opened == row["plaintext"].encode()
