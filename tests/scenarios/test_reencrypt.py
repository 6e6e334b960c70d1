"""`batchkms reencrypt`: ciphertexts move to another CMK, and nobody sees what they hold."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from batchkms.emulator import Emulator
from batchkms.emulator.store import KeyState
from tests.scenarios.conftest import Program
from tests.scenarios.ended import credentials
from tests.scenarios.moving import (
    assert_same,
    calls,
    encrypted,
    killed_in_the_middle,
    manage,
    new_key,
    plain_rows,
    ran,
    results,
)
from tests.sources.inventory import Row


def rows(count: int, width: int = 8) -> list[Row]:
    """Rows of which some have a context."""
    return [
        Row(f"row-{n}", f"canary-{n:0{width}}", '{"app":"a"}' if n % 3 == 0 else None)
        for n in range(1, count + 1)
    ]


MOST_THROTTLED = 5
"""Of some 500 paced calls, on a machine that does other work as well."""


async def test_there_and_back_every_row_is_as_it_was(batchkms: Program, kms: Emulator) -> None:
    inventory = plain_rows(1_500)
    await encrypted(batchkms, kms, inventory)
    other = await new_key(kms)
    before = calls(kms)
    await ran(batchkms, kms, "reencrypt", "enc.jsonl", "-o", "re.jsonl", "--key-id", other)
    made = {name: count - before.get(name, 0) for name, count in calls(kms).items()}
    assert {name: count for name, count in made.items() if count} == {"ReEncrypt": 1_500}
    moved = results(batchkms.folder / "re.jsonl")
    assert {row["key_id"] for row in moved.values()} == {other}
    assert {row["source_key_id"] for row in moved.values()} == {kms.demo_key_id}
    assert all(row["reencrypted"] is True for row in moved.values())
    await manage(kms, "DisableKey", KeyId=kms.demo_key_id)
    await ran(batchkms, kms, "decrypt", "re.jsonl", "-o", "dec.jsonl")
    assert_same(inventory, results(batchkms.folder / "dec.jsonl"))
    for name in ("re.jsonl", "dec.jsonl"):
        assert stat.S_IMODE((batchkms.folder / name).stat().st_mode) == 0o600
        assert batchkms("audit", name).code == 0


async def test_by_default_it_stays_within_the_quota_of_reencrypt(
    batchkms: Program, tmp_path: Path
) -> None:
    async with Emulator(data_dir=tmp_path / "kms", rate_limit=300) as kms:
        await encrypted(batchkms, kms, rows(500), rate="300")
        ended = await batchkms.beside(
            *("reencrypt", "enc.jsonl", "-o", "re.jsonl", "--key-id", await new_key(kms)),
            *("--endpoint", kms.endpoint, "--summary", "json"),
            environ=credentials(kms),
        )
        seen = kms.stats.as_json()["actions"]["ReEncrypt"]
    summary = json.loads(ended.stdout)
    assert (ended.code, summary["ok"], summary["rate_limit"]) == (0, 500, 100)
    assert seen["peak_per_second"] <= 100
    # The pace itself is held exactly, on virtual time (tests/test_quota.py). Here calls travel: a
    # machine that is busy holds some back, and they arrive too close together.
    assert seen["throttled"] <= MOST_THROTTLED
    assert seen["calls"] == 500 + seen["throttled"]
    assert summary["calls_per_second"] >= 90


async def test_unchanged_ciphertexts_are_told(batchkms: Program, kms: Emulator) -> None:
    before = await encrypted(batchkms, kms, rows(20))
    ended = await ran(batchkms, kms, "reencrypt", "enc.jsonl", "-o", "re.jsonl")
    assert "batchkms: unchanged: 20 rows" in ended.stderr.splitlines()
    assert "next: no ciphertext was changed" in ended.stderr
    moved = results(batchkms.folder / "re.jsonl")
    assert all(row["reencrypted"] is False for row in moved.values())
    assert all(row["ciphertext"] == before[seq]["ciphertext"] for seq, row in moved.items())


async def test_a_rotated_key_moves_its_rows_to_its_newest_version(
    batchkms: Program, kms: Emulator
) -> None:
    inventory = rows(30)
    before = await encrypted(batchkms, kms, inventory)
    await manage(kms, "EnableKeyRotation", KeyId=kms.demo_key_id, RotateDays=30)
    await manage(kms, "RotateKey", KeyId=kms.demo_key_id)
    ended = await ran(batchkms, kms, "reencrypt", "enc.jsonl", "-o", "re.jsonl")
    assert "unchanged" not in ended.stderr
    moved = results(batchkms.folder / "re.jsonl")
    assert {row["key_id"] for row in moved.values()} == {kms.demo_key_id}
    assert all(row["reencrypted"] is True for row in moved.values())
    assert all(row["ciphertext"] != before[seq]["ciphertext"] for seq, row in moved.items())
    await ran(batchkms, kms, "decrypt", "re.jsonl", "-o", "dec.jsonl")
    assert_same(inventory, results(batchkms.folder / "dec.jsonl"))


async def test_rows_may_name_where_they_go(batchkms: Program, kms: Emulator) -> None:
    inventory = rows(12)
    made = await encrypted(batchkms, kms, inventory)
    keys = [await new_key(kms) for _ in range(2)]
    wanted = {seq: keys[seq % 2] if seq % 3 else None for seq in made}
    named = [{**row, "to": wanted[seq]} for seq, row in made.items()]
    batchkms.write("named.jsonl", "".join(json.dumps(row) + "\n" for row in named))
    await ran(batchkms, kms, "reencrypt", "named.jsonl", "-o", "re.csv", "--key-field", "to")
    moved = results(batchkms.folder / "re.csv")
    for seq, row in moved.items():
        assert row["key_id"] == (wanted[seq] or kms.demo_key_id)
        assert row["reencrypted"] == ("true" if wanted[seq] else "false")
    await ran(batchkms, kms, "decrypt", "re.csv", "-o", "dec.jsonl")
    assert_same(inventory, results(batchkms.folder / "dec.jsonl"))


async def test_a_context_may_be_replaced(batchkms: Program, kms: Emulator) -> None:
    made = await encrypted(batchkms, kms, rows(6))
    wanted = {seq: f'{{"now":"{seq}"}}' if seq % 2 else None for seq in made}
    named = [{**row, "bound": wanted[seq]} for seq, row in made.items()]
    batchkms.write("named.jsonl", "".join(json.dumps(row) + "\n" for row in named))
    other = await new_key(kms)
    command = ("reencrypt", "named.jsonl", "-o", "re.jsonl", "--key-id", other)
    await ran(batchkms, kms, *command, "--destination-context-field", "bound")
    moved = results(batchkms.folder / "re.jsonl")
    assert {seq: row.get("encryption_context") for seq, row in moved.items()} == wanted
    await ran(batchkms, kms, "decrypt", "re.jsonl", "-o", "dec.jsonl")
    assert {row["status"] for row in results(batchkms.folder / "dec.jsonl").values()} == {"ok"}


async def test_between_two_accounts_the_plaintext_is_in_no_file(
    batchkms: Program, tmp_path: Path
) -> None:
    inventory = rows(450)
    async with (
        Emulator(data_dir=tmp_path / "old", rate_limit=300, region="ap-beijing") as old,
        Emulator(data_dir=tmp_path / "new", rate_limit=300) as new,
    ):
        # Credentials are looked up by profile: both emulators have their own.
        folder = batchkms.folder / ".tencentcloud"
        folder.mkdir()
        (folder / "credentials").write_text(
            "".join(
                f"[{name}]\nsecret_id = {kms.secret_id}\nsecret_key = {kms.secret_key}\n"
                for name, kms in {"old": old, "new": new}.items()
            )
        )
        batchkms.write(
            "in.jsonl",
            "".join(
                json.dumps(
                    {"id": row.id, "plaintext": row.plaintext, "encryption_context": row.context}
                )
                + "\n"
                for row in inventory
            ),
        )
        ended = await batchkms.beside(
            *("encrypt", "in.jsonl", "-o", "enc.jsonl", "--profile", "old"),
            *("--endpoint", old.endpoint, "--region", "ap-beijing", "--key-id", old.demo_key_id),
        )
        assert ended.code == 0, ended.stderr
        (batchkms.folder / "in.jsonl").unlink()
        ended = await batchkms.beside(
            *("reencrypt", "enc.jsonl", "-o", "re.jsonl", "--profile", "new"),
            *("--endpoint", new.endpoint, "--key-id", new.demo_key_id, "--log-level", "debug"),
            *("--source-endpoint", old.endpoint, "--source-region", "ap-beijing"),
            *("--source-profile", "old"),
        )
        assert ended.code == 0, ended.stderr
        for kms, action in ((old, "Decrypt"), (new, "Encrypt")):
            seen = kms.stats.as_json()["actions"][action]
            assert (seen["ok"], seen["throttled"] <= MOST_THROTTLED) == (450, True)
            assert seen["peak_per_second"] <= 300
            assert "ReEncrypt" not in calls(kms)
        written = {p: p.read_bytes() for p in batchkms.folder.rglob("*") if p.is_file()}
        assert not [path for path, content in written.items() if b"canary-" in content]
        assert "canary-" not in ended.stderr + ended.stdout
        moved = results(batchkms.folder / "re.jsonl")
        assert {row["source_key_id"] for row in moved.values()} == {old.demo_key_id}
        ended = await batchkms.beside(
            *("decrypt", "re.jsonl", "-o", "dec.jsonl", "--profile", "new"),
            *("--endpoint", new.endpoint),
        )
        assert ended.code == 0, ended.stderr
    assert_same(inventory, results(batchkms.folder / "dec.jsonl"))


async def test_rows_that_had_failed_pass_through(batchkms: Program, kms: Emulator) -> None:
    made = await encrypted(batchkms, kms, rows(5))
    failed = {"seq": 9, "id": "bad", "status": "failed", "class": "invalid_record"}
    failed |= {"code": "EmptyPlaintext", "message": "line 9: no plaintext", "attempts": 0}
    lines = [json.dumps(row) + "\n" for row in [*made.values(), failed]]
    batchkms.write("enc.jsonl", "".join(lines))
    other = await new_key(kms)
    await ran(batchkms, kms, "reencrypt", "enc.jsonl", "-o", "re.csv", "--key-id", other, code=1)
    await ran(batchkms, kms, "decrypt", "re.csv", "-o", "dec.jsonl", code=1)
    for name in ("re.csv", "dec.jsonl"):
        found = results(batchkms.folder / name)
        assert sorted(found) == [1, 2, 3, 4, 5, 9]
        assert {key: str(found[9][key]) for key in failed} == {k: str(v) for k, v in failed.items()}
    assert calls(kms)["ReEncrypt"] == calls(kms)["Decrypt"] == 5


async def test_of_an_envelope_only_the_data_key_moves(batchkms: Program, kms: Emulator) -> None:
    inventory = rows(600)
    envelope = ("--mode", "envelope", "--data-key-rows", "100")
    made = await encrypted(batchkms, kms, inventory, *envelope)
    other = await new_key(kms)
    await ran(batchkms, kms, "reencrypt", "enc.jsonl", "-o", "re.jsonl", "--key-id", other)
    assert calls(kms)["ReEncrypt"] == 6
    moved = results(batchkms.folder / "re.jsonl")
    for seq, row in moved.items():
        assert row["ciphertext"] == made[seq]["ciphertext"]
        assert (row["mode"], row["key_id"]) == ("envelope", other)
        assert row["data_key"] != made[seq]["data_key"]
    await kms.set_key_state(kms.demo_key_id, KeyState.DISABLED)
    await ran(batchkms, kms, "decrypt", "re.jsonl", "-o", "dec.jsonl")
    assert calls(kms)["Decrypt"] == 6
    assert_same(inventory, results(batchkms.folder / "dec.jsonl"))


@pytest.mark.parametrize("mode", ["direct", "envelope"])
async def test_a_disabled_source_key_fails_its_own_rows(
    batchkms: Program, kms: Emulator, mode: str
) -> None:
    gone, other = await new_key(kms), await new_key(kms)
    lines = [
        {"id": f"row-{n}", "plaintext": f"canary-{n}", "cmk": gone if n % 2 else kms.demo_key_id}
        for n in range(1, 41)
    ]
    batchkms.write("in.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    options = ("--key-field", "cmk", "--mode", mode, "--ordered")
    await ran(batchkms, kms, "encrypt", "in.jsonl", "-o", "enc.jsonl", *options)
    await kms.set_key_state(gone, KeyState.DISABLED)
    for command in (("reencrypt", "--key-id", other), ("decrypt",)):
        name = f"{command[0]}.jsonl"
        await ran(batchkms, kms, *command, "enc.jsonl", "-o", name, code=1)
        found = results(batchkms.folder / name)
        assert len(found) == 40
        for seq, row in found.items():
            fate = ("failed", "key_unavailable") if seq % 2 else ("ok", None)
            assert (row["status"], row.get("class")) == fate, row


async def test_an_unusable_destination_stops_the_run(batchkms: Program, kms: Emulator) -> None:
    await encrypted(batchkms, kms, rows(200))
    gone = "00000000-0000-0000-0000-000000000000"
    command = ("reencrypt", "enc.jsonl", "-o", "re.jsonl", "--key-id", gone)
    ended = await ran(batchkms, kms, *command, code=3)
    assert "CmkNotFound" in ended.errors[0]


async def test_a_killed_run_is_resumed_and_no_row_is_moved_twice(
    batchkms: Program, kms: Emulator
) -> None:
    inventory = rows(400)
    await encrypted(batchkms, kms, inventory)
    other = await new_key(kms)
    command = ("reencrypt", "enc.jsonl", "-o", "re.jsonl", "--key-id", other)
    kept = await killed_in_the_middle(
        *(batchkms, kms, *command, "--fsync-interval", "50ms", "--rate", "150"),
        partial="re.jsonl.partial",
        after_bytes=20_000,
    )
    assert 0 < kept < 400
    before = calls(kms)["ReEncrypt"]
    ended = await ran(batchkms, kms, *command, "--resume")
    assert "resuming: " in ended.stderr
    assert calls(kms)["ReEncrypt"] - before <= 400 - kept + 1
    assert batchkms("audit", "re.jsonl").code == 0
    await ran(batchkms, kms, "decrypt", "re.jsonl", "-o", "dec.jsonl")
    assert_same(inventory, results(batchkms.folder / "dec.jsonl"))


async def test_failed_rows_are_retried(batchkms: Program, tmp_path: Path) -> None:
    failing: dict[str, Any] = {"now": True, "calls": 0}

    def fail(action: str) -> str | None:
        failing["calls"] += 1
        bad = action in ("ReEncrypt", "Decrypt") and failing["now"] and failing["calls"] % 3 == 0
        return "InternalError" if bad else None

    inventory = rows(60)
    async with Emulator(data_dir=tmp_path / "kms", rate_limit=None, fail=fail) as kms:
        await encrypted(batchkms, kms, inventory)
        other = await new_key(kms)
        for command, output in (
            (("reencrypt", "enc.jsonl", "--key-id", other), "re.csv"),
            (("decrypt", "re.csv"), "dec.csv"),
        ):
            failing["now"] = True
            await ran(batchkms, kms, *command, "-o", output, "--max-attempts", "1", code=4)
            failing["now"] = False
            ended = await batchkms.beside("retry", output, environ=credentials(kms))
            assert ended.code == 0, ended.stderr
            assert batchkms("audit", output).code == 0
    assert_same(inventory, results(batchkms.folder / "dec.csv"))
