"""`batchkms decrypt`: every plaintext comes back, and goes nowhere but into the output."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.ended import credentials
from tests.scenarios.moving import (
    assert_same,
    calls,
    encrypted,
    killed_in_the_middle,
    plain_rows,
    plaintext,
    ran,
    results,
)
from tests.sources.inventory import Row

CANARY = "canary-4Kw9-plaintext"


def rows(count: int) -> list[Row]:
    """Rows of which each holds the canary."""
    return [Row(f"row-{n}", f"{CANARY}-{n}", '{"app":"a"}') for n in range(1, count + 1)]


@pytest.mark.parametrize("format", ["jsonl", "csv"])
@pytest.mark.parametrize("mode", ["direct", "envelope"])
async def test_every_shape_of_secret_comes_back(
    batchkms: Program, kms: Emulator, format: str, mode: str
) -> None:
    inventory = plain_rows(300, seed=7)
    made = await encrypted(batchkms, kms, inventory, "--mode", mode, output=f"enc.{format}")
    await ran(batchkms, kms, "decrypt", f"enc.{format}", "-o", f"dec.{format}", "--ordered")
    found = results(batchkms.folder / f"dec.{format}")
    assert_same(inventory, found)
    assert list(found) == list(made)
    assert not any("ciphertext" in row for row in found.values())
    assert calls(kms)["Decrypt"] == (300 if mode == "direct" else 1)


async def test_what_is_no_text_is_written_in_base64(batchkms: Program, kms: Emulator) -> None:
    secrets = [bytes(range(256)), b"\xff", b"\xc3\x28", b"text"]
    lines = [json.dumps({"plaintext": base64.b64encode(secret).decode()}) for secret in secrets]
    batchkms.write("in.jsonl", "\n".join(lines))
    command = ("encrypt", "in.jsonl", "-o", "enc.jsonl", "--key-id", kms.demo_key_id)
    await ran(batchkms, kms, *command, "--encoding", "base64")
    await ran(batchkms, kms, "decrypt", "enc.jsonl", "-o", "dec.csv")
    found = results(batchkms.folder / "dec.csv")
    assert [plaintext(found[seq]) for seq in (1, 2, 3, 4)] == secrets
    assert [found[seq]["encoding"] for seq in (1, 2, 3, 4)] == ["base64"] * 3 + ["utf8"]


async def test_a_row_with_another_context_fails_by_itself(batchkms: Program, kms: Emulator) -> None:
    made = await encrypted(batchkms, kms, rows(6))
    made[2]["encryption_context"] = '{"app":"b"}'
    del made[3]["encryption_context"]
    made[4]["ciphertext"] = made[4]["ciphertext"][:-8] + "AAAAAAA="
    made[5]["ciphertext"] = "no blob!"
    batchkms.write("enc.jsonl", "".join(json.dumps(row) + "\n" for row in made.values()))
    ended = await ran(batchkms, kms, "decrypt", "enc.jsonl", "-o", "dec.jsonl", code=1)
    found = results(batchkms.folder / "dec.jsonl")
    assert [found[seq]["status"] for seq in (1, 2, 3, 4, 5, 6)] == ["ok", *["failed"] * 4, "ok"]
    assert {found[seq]["class"] for seq in (2, 3, 4)} == {"invalid_request"}
    assert (found[5]["class"], found[5]["code"]) == ("invalid_record", "InvalidCiphertext")
    assert CANARY not in ended.stderr
    assert all("plaintext" not in found[seq] for seq in (2, 3, 4, 5))


async def test_an_envelope_opens_for_its_own_row_alone(batchkms: Program, kms: Emulator) -> None:
    made = await encrypted(batchkms, kms, rows(5), "--mode", "envelope")
    made[1]["id"] = "another"
    made[2]["encryption_context"] = '{"app":"b"}'
    made[3]["ciphertext"] = made[4]["ciphertext"]
    batchkms.write("enc.jsonl", "".join(json.dumps(row) + "\n" for row in made.values()))
    await ran(batchkms, kms, "decrypt", "enc.jsonl", "-o", "dec.jsonl", code=1)
    found = results(batchkms.folder / "dec.jsonl")
    assert {found[seq]["code"] for seq in (1, 2, 3)} == {"InvalidEnvelope"}
    assert {found[seq]["status"] for seq in (4, 5)} == {"ok"}


async def test_plaintexts_go_to_stdout_only_if_that_is_said(
    batchkms: Program, kms: Emulator
) -> None:
    await encrypted(batchkms, kms, rows(3))
    before = calls(kms)
    ended = await ran(batchkms, kms, "decrypt", "enc.jsonl", "-o", "-", code=2)
    assert (ended.stdout, calls(kms)) == ("", before)
    assert "--allow-stdout" in ended.hints[0]
    ended = await ran(batchkms, kms, "decrypt", "enc.jsonl", "-o", "-", "--allow-stdout")
    assert ended.stdout.count(CANARY) == 3
    assert CANARY not in ended.stderr


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_the_output_is_the_only_place_with_a_plaintext(
    batchkms: Program, kms: Emulator, log_format: str
) -> None:
    await encrypted(batchkms, kms, rows(20))
    (batchkms.folder / "in.jsonl").unlink()
    ended = await ran(
        *(batchkms, kms, "decrypt", "enc.jsonl", "-o", "dec.jsonl", "--progress", "always"),
        *("--log-level", "debug", "--log-format", log_format, "--summary", "json"),
    )
    output = batchkms.folder / "dec.jsonl"
    assert output.read_text().count(CANARY) == 20
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    texts = {path: path.read_bytes() for path in batchkms.folder.rglob("*") if path.is_file()}
    del texts[output]
    texts |= {Path("stdout"): ended.stdout.encode(), Path("stderr"): ended.stderr.encode()}
    assert "dec.jsonl.run.json" in {path.name for path in texts}
    for path, content in texts.items():
        for form in (CANARY.encode(), base64.b64encode(CANARY.encode())[:24]):
            assert form not in content, path
    inspected = batchkms("inspect", "dec.jsonl")
    assert CANARY not in inspected.stdout + inspected.stderr
    assert "plaintext  20" in inspected.stderr


async def test_a_killed_run_is_resumed(batchkms: Program, kms: Emulator) -> None:
    inventory = rows(500)
    await encrypted(batchkms, kms, inventory)
    command = ("decrypt", "enc.jsonl", "-o", "dec.jsonl")
    kept = await killed_in_the_middle(
        *(batchkms, kms, *command, "--fsync-interval", "50ms", "--rate", "150"),
        partial="dec.jsonl.partial",
        after_bytes=10_000,
    )
    assert 0 < kept < 500
    partial = batchkms.folder / "dec.jsonl.partial"
    assert stat.S_IMODE(partial.stat().st_mode) == 0o600
    before = calls(kms)["Decrypt"]
    await ran(batchkms, kms, *command, "--resume")
    assert calls(kms)["Decrypt"] - before <= 500 - kept + 1
    assert_same(inventory, results(batchkms.folder / "dec.jsonl"))
    assert batchkms("audit", "dec.jsonl").code == 0
    again = await ran(batchkms, kms, *command, "--resume")
    assert "nothing to do" in again.stderr


async def test_a_result_file_may_come_through_a_pipe(batchkms: Program, kms: Emulator) -> None:
    made = await encrypted(batchkms, kms, rows(3))
    content = "".join(json.dumps(row) + "\n" for row in made.values()).encode()
    ended = await batchkms.beside(
        *("decrypt", "-", "--format", "jsonl", "-o", "dec.jsonl", "--endpoint", kms.endpoint),
        stdin=content,
        environ=credentials(kms),
    )
    assert ended.code == 0, ended.stderr
    assert_same(rows(3), results(batchkms.folder / "dec.jsonl"))


async def test_an_inventory_is_no_result_file(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.csv", f"id,plaintext\r\na,{CANARY}\r\n")
    ended = await ran(batchkms, kms, "decrypt", "in.csv", "-o", "dec.csv", code=2)
    assert "ciphertext" in ended.errors[0]
    assert CANARY not in ended.stderr
