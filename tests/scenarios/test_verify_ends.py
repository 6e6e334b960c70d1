"""How a verification ends when nothing is wrong with the output, but not all can be verified."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import pytest

from batchkms.emulator import Emulator, KeyState
from tests.scenarios.conftest import Program
from tests.scenarios.dying import inventory, results_in
from tests.scenarios.ended import Ended, credentials, target, until_it


async def _encrypted(
    batchkms: Program, kms: Emulator, *options: str, format: str = "jsonl", rows: int = 300
) -> str:
    """The name of an output."""
    batchkms.write(f"in.{format}", inventory(format, rows=rows))
    output = f"out.{format.removesuffix('.gz')}"
    ended = await batchkms.beside(
        *("encrypt", f"in.{format}", "-o", output, "--rate", "off", *target(kms), *options),
        environ=credentials(kms),
    )
    assert ended.code in (0, 5), ended.stderr
    return output


async def _verified(
    batchkms: Program, kms: Emulator, output: str, against: str, *options: str
) -> tuple[Ended, dict[str, Any]]:
    ended = await batchkms.beside(
        *("verify", output, "--against", against, "--rate", "off", "--summary", "json"),
        *("--endpoint", kms.endpoint, *options),
        environ=credentials(kms),
    )
    return ended, json.loads(ended.stdout) if ended.stdout else {}


@pytest.mark.parametrize("format", ["jsonl", "csv", "jsonl.gz", "csv.gz"])
@pytest.mark.parametrize("mode", ["direct", "envelope"])
async def test_every_kind_of_output_is_verified(
    batchkms: Program, kms: Emulator, format: str, mode: str
) -> None:
    keys = ["--mode", "envelope", "--data-key-rows", "60"] if mode == "envelope" else []
    output = await _encrypted(batchkms, kms, *keys, format=format)
    ended, summary = await _verified(batchkms, kms, output, f"in.{format}")
    assert (ended.code, summary["verified"]) == (0, 300), ended.stderr
    assert summary["calls"] == summary["cost"]["calls"] == (5 if keys else 300)


async def test_an_output_with_columns_of_the_input_is_verified_without_its_suffix(
    batchkms: Program, kms: Emulator
) -> None:
    content = b"id,plaintext,team\r\n" + b"".join(b'%d,s,"a\r\n""b"\r\n' % i for i in range(50))
    batchkms.write("in.csv", content)
    command = ["encrypt", "in.csv", "-o", "out", "--output-format", "csv", "--keep", "team"]
    await batchkms.beside(*command, *target(kms), environ=credentials(kms))
    ended, summary = await _verified(batchkms, kms, "out", "in.csv")
    assert (ended.code, summary["verified"]) == (0, 50), ended.stderr
    (batchkms.folder / "out.run.json").unlink()
    ended, _ = await _verified(batchkms, kms, "out", "in.csv")
    assert ended.code == 2
    assert "tells its format" in ended.errors[0]


async def test_a_flipped_quote_damages_one_row_of_csv_and_no_other(
    batchkms: Program, kms: Emulator
) -> None:
    output = await _encrypted(batchkms, kms, format="csv")
    lines = (batchkms.folder / output).read_bytes().splitlines(keepends=True)
    lines[100] = lines[100].replace(b",ok,", b',"k,', 1)
    batchkms.write(output, b"".join(lines))
    seq = int(lines[100].split(b",")[0])
    ended, summary = await _verified(batchkms, kms, output, "in.csv")
    assert ended.code == 6
    found = [(each["kind"], each.get("seq"), each.get("line")) for each in summary["findings"]]
    assert found == [("damaged", None, 101), ("missing", seq, None)]
    assert summary["verified"] == 299


@pytest.mark.parametrize("changed", ["ciphertext", "id", "data_key", "encryption_context"])
async def test_a_changed_envelope_is_found(batchkms: Program, kms: Emulator, changed: str) -> None:
    output = await _encrypted(batchkms, kms, "--mode", "envelope", "--data-key-rows", "1")
    rows = results_in(batchkms.folder / output)
    rows[3][changed] = {"encryption_context": '{"a":"b"}', "id": "other"}.get(
        changed, rows[4].get(changed)
    )
    batchkms.write(output, "".join(json.dumps(row) + "\n" for row in rows))
    ended, summary = await _verified(batchkms, kms, output, "in.jsonl")
    kind = {"encryption_context": "context", "id": "id"}.get(changed, "corrupted")
    assert ended.code == 6
    assert [(each["kind"], each["seq"]) for each in summary["findings"]] == [(kind, rows[3]["seq"])]


async def test_another_context_after_reencryption_is_right(
    batchkms: Program, kms: Emulator
) -> None:
    rows = [{"id": f"r{i}", "plaintext": f"secret {i}"} for i in range(20)]
    batchkms.write("in.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    await batchkms.beside(
        *("encrypt", "in.jsonl", "-o", "first.jsonl", *target(kms)), environ=credentials(kms)
    )
    given = results_in(batchkms.folder / "first.jsonl")
    moved = "".join(json.dumps({**row, "new": '{"app":"b"}'}) + "\n" for row in given)
    batchkms.write("moving.jsonl", moved)
    done = await batchkms.beside(
        *("reencrypt", "moving.jsonl", "-o", "out.jsonl", "--destination-context-field", "new"),
        *target(kms),
        environ=credentials(kms),
    )
    assert done.code == 0, done.stderr
    ended, summary = await _verified(batchkms, kms, "out.jsonl", "in.jsonl")
    assert (ended.code, summary["verified"]) == (0, 20), ended.stderr
    # What is written beside the ciphertext is not believed: it must decrypt with it.
    forged = (batchkms.folder / "out.jsonl").read_text().replace('"b\\"}', '"c\\"}')
    batchkms.write("out.jsonl", forged)
    ended, summary = await _verified(batchkms, kms, "out.jsonl", "in.jsonl")
    assert (ended.code, summary["counts"]) == (6, {"corrupted": 20})


async def test_rows_under_a_disabled_key_are_unverified(batchkms: Program, kms: Emulator) -> None:
    output = await _encrypted(batchkms, kms)
    await kms.set_key_state(kms.demo_key_id, KeyState.DISABLED)
    ended, summary = await _verified(batchkms, kms, output, "in.jsonl", "--concurrency", "1")
    assert ended.code == 1, ended.stderr
    assert summary["counts"] == {}
    assert summary["unverified"]["classes"] == {"key_unavailable": 300}
    assert summary["calls"] == 20, "a CMK that was refused for 20 rows is not asked for again"


async def test_one_row_that_names_a_wrong_key_says_nothing_of_the_others(
    batchkms: Program, kms: Emulator
) -> None:
    output = await _encrypted(batchkms, kms)
    # As a service may answer for a ciphertext whose first part was damaged.
    kms.faults.add({"action": "Decrypt", "code": "ResourceUnavailable.CmkNotFound", "times": 1})
    ended, summary = await _verified(batchkms, kms, output, "in.jsonl", "--concurrency", "1")
    assert ended.code == 1, ended.stderr
    assert summary["verified"] == 299
    assert summary["unverified"]["codes"] == {"ResourceUnavailable.CmkNotFound": 1}


async def test_rows_that_the_service_fails_are_unverified_for_now(
    batchkms: Program, kms: Emulator
) -> None:
    output = await _encrypted(batchkms, kms, rows=40)
    kms.faults.add({"action": "Decrypt", "code": "InternalError", "probability": 0.5})
    ended, summary = await _verified(
        batchkms, kms, output, "in.jsonl", "--max-attempts", "1", "--concurrency", "1"
    )
    assert ended.code == 4, ended.stderr
    assert summary["unverified"]["failed_now"] == summary["unverified"]["rows"] > 0
    assert summary["verified"] + summary["unverified"]["rows"] == 40


async def test_refused_credentials_stop_it(batchkms: Program, kms: Emulator) -> None:
    output = await _encrypted(batchkms, kms)
    ended = await batchkms.beside(
        *("verify", output, "--against", "in.jsonl", "--endpoint", kms.endpoint),
        environ={**credentials(kms), "TENCENTCLOUD_SECRET_KEY": "wrong"},
    )
    assert ended.code == 3
    assert ended.errors[0].startswith("AuthFailure")


@pytest.mark.parametrize("format", ["jsonl", "csv"])
async def test_nothing_against_nothing_is_no_success(
    batchkms: Program, kms: Emulator, format: str
) -> None:
    output = await _encrypted(batchkms, kms, format=format, rows=0)
    ended, _ = await _verified(batchkms, kms, output, f"in.{format}")
    assert (ended.code, ended.errors) == (5, ["the inventory held no records"])


async def test_an_interrupted_one_says_how_far_it_came(batchkms: Program, kms: Emulator) -> None:
    output = await _encrypted(batchkms, kms)
    process = await asyncio.create_subprocess_exec(
        *batchkms.command("verify", output, "--against", "in.jsonl", "--summary", "json"),
        *("--rate", "20", "--endpoint", kms.endpoint),
        env=batchkms.environ(credentials(kms)),
        cwd=batchkms.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )

    def calls() -> int:
        return int(kms.stats.as_json()["actions"].get("Decrypt", {}).get("calls", 0))

    await until_it(process, lambda: calls() > 3)
    process.send_signal(signal.SIGINT)
    stdout, _ = await process.communicate()
    summary = json.loads(stdout)
    assert process.returncode == summary["exit_code"] == 130
    assert summary["state"] == "interrupted"
    assert 0 < summary["verified"] < 300
    assert summary["counts"] == {}, "rows that were not reached are not extra"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["out.jsonl"], "verify needs the inventory"),
        (["none.jsonl", "--against", "in.jsonl"], "none.jsonl cannot be read"),
        (["out.jsonl", "--against", "none.jsonl"], "none.jsonl cannot be read"),
        (["in.csv", "--against", "in.jsonl"], "in.csv is no result file"),
        (["out.jsonl.gz", "--against", "in.jsonl"], "is compressed"),
        (["out.jsonl", "--against", "in.jsonl", "--all", "--sample", "3"], "cannot go together"),
    ],
)
async def test_what_cannot_be_verified_is_refused(
    batchkms: Program, kms: Emulator, arguments: list[str], told: str
) -> None:
    await _encrypted(batchkms, kms, rows=3)
    batchkms.write("in.csv", inventory("csv", rows=3))
    ended = await batchkms.beside(
        "verify", *arguments, "--endpoint", kms.endpoint, environ=credentials(kms)
    )
    assert ended.code == 2
    assert told in ended.errors[0]
    assert ended.hints
