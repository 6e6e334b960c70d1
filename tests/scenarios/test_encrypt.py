"""`batchkms encrypt` from file to file: what is written where, and the exit code."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from batchkms import Credentials, KmsClient, StaticCredentials
from batchkms.emulator import Emulator
from batchkms.records import BASE_COLUMNS
from tests.scenarios.conftest import Program
from tests.scenarios.ended import credentials, target

ROOT = Path(__file__).parent.parent.parent

ROWS: list[dict[str, Any]] = [
    {"id": "plain", "plaintext": "example one"},
    {"id": "unicode 词", "plaintext": "口令 🔑", "encryption_context": {"b": "2", "a": "中"}},
    {"id": "=formula", "plaintext": "=1+1", "encryption_context": '{"kept": "as it is"}'},
    {"plaintext": "no id"},
    {"id": "empty", "plaintext": ""},
    {"id": "plain", "plaintext": "the same id again"},
]
SENT_CONTEXTS = {2: '{"b":"2","a":"中"}', 3: '{"kept": "as it is"}'}


def _jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _read(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


async def _decrypted(emulator: Emulator, row: dict[str, Any]) -> str:
    given = StaticCredentials(Credentials(emulator.secret_id, emulator.secret_key))
    async with KmsClient(
        region=emulator.region, endpoint=emulator.endpoint, credentials=given
    ) as client:
        context = row.get("encryption_context") or None
        answer = await client.decrypt(row["ciphertext"], encryption_context=context)
    assert answer.key_id == row["key_id"]
    return answer.plaintext.decode()


async def test_every_row_has_one_result_that_decrypts_to_it(
    batchkms: Program, kms: Emulator
) -> None:
    inventory = batchkms.write("in.jsonl", _jsonl(ROWS))
    ended = await batchkms.beside(
        "encrypt", "in.jsonl", "-o", "out.jsonl", *target(kms), environ=credentials(kms)
    )
    assert (ended.code, ended.stdout, ended.errors) == (1, "", [])
    output = batchkms.folder / "out.jsonl"
    results = {row["seq"]: row for row in _read(output.read_text())}
    assert sorted(results) == [1, 2, 3, 4, 5, 6]
    for seq, row in enumerate(ROWS, start=1):
        result = results[seq]
        assert result["id"] == row.get("id", "4")
        if seq == 5:
            assert (result["status"], result["class"]) == ("failed", "invalid_record")
            assert (result["code"], result["attempts"]) == ("EmptyPlaintext", 0)
            assert result["message"].startswith("line 5: ")
        else:
            assert (result["status"], result["attempts"]) == ("ok", 1)
            assert result.get("encryption_context") == SENT_CONTEXTS.get(seq)
            assert await _decrypted(kms, result) == row["plaintext"]
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert not output.with_name("out.jsonl.partial").exists()
    manifest = json.loads((batchkms.folder / "out.jsonl.run.json").read_bytes())
    assert (manifest["state"], manifest["exit_code"]) == ("finished", 1)
    assert manifest["counts"]["rows"] == 6
    assert manifest["counts"]["by_class"] == {"invalid_record": 1}
    assert manifest["counts"]["by_key"] == {kms.demo_key_id: 5}
    assert manifest["input"]["sha256"] == hashlib.sha256(inventory.read_bytes()).hexdigest()
    assert manifest["output"]["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
    assert manifest["output"]["size_bytes"] == output.stat().st_size


@pytest.mark.parametrize("transport", ["aiohttp", "wire"])
async def test_either_transport(batchkms: Program, kms: Emulator, transport: str) -> None:
    batchkms.write("in.jsonl", _jsonl(ROWS))
    more = ("--transport", transport, *target(kms))
    ended = await batchkms.beside(
        "encrypt", "in.jsonl", "-o", "out.jsonl", *more, environ=credentials(kms)
    )
    assert (ended.code, ended.stdout, ended.errors) == (1, "", [])
    results = _read((batchkms.folder / "out.jsonl").read_text())
    assert [row["seq"] for row in results if row["status"] == "failed"] == [5]
    for row in results:
        if row["status"] == "ok":
            seq = row["seq"] - 1
            assert await _decrypted(kms, row) == ROWS[seq]["plaintext"]
    manifest = json.loads((batchkms.folder / "out.jsonl.run.json").read_bytes())
    assert manifest["settings"]["transport"] == transport


def test_the_wire_and_a_proxy_do_not_go_together(batchkms: Program) -> None:
    batchkms.write("in.jsonl", _jsonl(ROWS))
    ended = batchkms(
        *("encrypt", "in.jsonl", "-o", "out.jsonl", "--transport", "wire"),
        *("--proxy", "http://127.0.0.1:9", "--key-id", "k", "--region", "ap-guangzhou"),
        environ={"TENCENTCLOUD_SECRET_ID": "EXAMPLE", "TENCENTCLOUD_SECRET_KEY": "example"},
    )
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.errors == ["the transport wire goes through no proxy"]
    assert list(batchkms.folder.glob("out*")) == []


@pytest.mark.parametrize("packed", [False, True])
async def test_csv_in_and_out(batchkms: Program, kms: Emulator, packed: bool) -> None:
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(["owner", "encryption_context", "plaintext", "id"])
    for row in ROWS:
        context = row.get("encryption_context", "")
        sent = context if isinstance(context, str) else json.dumps(context, ensure_ascii=False)
        table.writerow(["team", sent, row["plaintext"], row.get("id", "")])
    content = b"\xef\xbb\xbf" + text.getvalue().encode()
    name = "in.csv.gz" if packed else "in.csv"
    batchkms.write(name, gzip.compress(content) if packed else content)
    ended = await batchkms.beside(
        "encrypt", name, "-o", "out.csv", *target(kms), environ=credentials(kms)
    )
    assert ended.code == 1
    written = (batchkms.folder / "out.csv").read_bytes().decode()
    assert written.startswith(",".join(BASE_COLUMNS) + "\r\n")
    results = {int(row["seq"]): row for row in csv.DictReader(io.StringIO(written, newline=""))}
    assert results[3]["id"] == "'=formula"
    for seq, row in enumerate(ROWS, start=1):
        if seq != 5:
            assert await _decrypted(kms, results[seq]) == row["plaintext"]


async def test_a_pipe_in_and_a_pipe_out(batchkms: Program, kms: Emulator) -> None:
    ended = await batchkms.beside(
        *("encrypt", "-", "--format", "jsonl", "-o", "-", "--ordered", *target(kms)),
        stdin=_jsonl(ROWS).encode(),
        environ=credentials(kms),
    )
    assert ended.code == 1
    assert [row["seq"] for row in _read(ended.stdout)] == [1, 2, 3, 4, 5, 6]
    assert sorted(path.name for path in batchkms.folder.iterdir()) == []


async def test_a_json_summary_is_all_that_stdout_holds(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.jsonl", _jsonl(ROWS))
    ended = await batchkms.beside(
        *("encrypt", "in.jsonl", "-o", "out.jsonl", "--summary", "json", *target(kms)),
        environ=credentials(kms),
    )
    (line,) = ended.stdout.splitlines()
    summary = json.loads(line)
    assert (summary["state"], summary["exit_code"]) == ("finished", 1)
    assert (summary["rows"], summary["ok"], summary["failed"]) == (6, 5, 1)
    assert (summary["calls"], summary["retries"], summary["throttled"]) == (5, 0, 0)
    assert summary["classes"] == {"invalid_record": 1}
    assert summary["error"] is None
    assert ended.stderr == ""


def test_with_the_emulator_built_in_a_later_run_uses_the_same_key(batchkms: Program) -> None:
    batchkms.write("in.jsonl", _jsonl(ROWS[:2]))
    keys = set()
    for number in (1, 2):
        ended = batchkms("encrypt", "in.jsonl", "-o", f"out-{number}.jsonl", "--emulator")
        assert (ended.code, ended.errors) == (0, [])
        rows = _read((batchkms.folder / f"out-{number}.jsonl").read_text())
        keys |= {row["key_id"] for row in rows}
    (key,) = keys
    assert f"batchkms: demo key: {key} (made by the emulator)" in ended.stderr.splitlines()


async def test_rows_may_name_their_own_keys(batchkms: Program, kms: Emulator) -> None:
    gone = "00000000-0000-0000-0000-000000000000"
    rows: list[dict[str, Any]] = [
        {"plaintext": "a", "cmk": kms.demo_key_id},
        {"plaintext": "b", "cmk": gone},
    ] * 4
    batchkms.write("in.jsonl", _jsonl(rows))
    ended = await batchkms.beside(
        *("encrypt", "in.jsonl", "-o", "out.jsonl", "--key-field", "cmk"),
        *("--endpoint", kms.endpoint, "--concurrency", "1"),
        environ=credentials(kms),
    )
    assert ended.code == 1
    results = _read((batchkms.folder / "out.jsonl").read_text())
    assert [row["status"] for row in sorted(results, key=lambda row: row["seq"])] == [
        "ok",
        "failed",
    ] * 4
    refused = [row for row in results if row["status"] == "failed"]
    assert {row["class"] for row in refused} == {"key_unavailable"}
    assert sum(row["attempts"] for row in refused) == 1


async def test_limit_takes_the_first_rows_only(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.jsonl", _jsonl(ROWS))
    ended = await batchkms.beside(
        *("encrypt", "in.jsonl", "-o", "out.jsonl", "--limit", "3", *target(kms)),
        environ=credentials(kms),
    )
    assert ended.code == 0
    results = _read((batchkms.folder / "out.jsonl").read_text())
    assert sorted(row["seq"] for row in results) == [1, 2, 3]


def test_an_input_without_rows_is_exit_code_5(batchkms: Program) -> None:
    batchkms.write("in.jsonl", "\n\n")
    ended = batchkms("encrypt", "in.jsonl", "-o", "out.jsonl", "--emulator")
    assert (ended.code, ended.stdout) == (5, "")
    assert (batchkms.folder / "out.jsonl").read_bytes() == b""


async def test_rate_auto_asks_the_service(batchkms: Program, tmp_path: Path) -> None:
    batchkms.write("in.jsonl", _jsonl(ROWS[:2]))
    async with Emulator(data_dir=tmp_path / "kms", rate_limit=300) as kms:
        ended = await batchkms.beside(
            *("encrypt", "in.jsonl", "-o", "out.jsonl", "--rate", "auto", "--reserve", "50%"),
            *("--summary", "json", *target(kms)),
            environ=credentials(kms),
        )
    assert ended.code == 0
    assert json.loads(ended.stdout)["rate_limit"] == 150
    told = [line for line in ended.stderr.splitlines() if "GetServiceStatus" in line]
    assert told == ["batchkms: GetServiceStatus says that the quota is 300 calls/s"]


def test_the_job_file_of_the_repository_runs(batchkms: Program) -> None:
    (batchkms.folder / "examples").symlink_to(ROOT / "examples")
    job = ROOT / "configs" / "encrypt.toml"
    ended = batchkms("encrypt", "--config", str(job))
    assert (ended.code, ended.errors) == (0, [])
    with (batchkms.folder / "encrypted.csv").open(newline="") as file:
        assert {row["status"] for row in csv.DictReader(file)} == {"ok"}


@pytest.mark.parametrize("name", ["inventory.jsonl", "inventory.csv"])
def test_the_examples_are_encrypted_without_a_failure(batchkms: Program, name: str) -> None:
    ended = batchkms("encrypt", str(ROOT / "examples" / name), "-o", "out.jsonl", "--emulator")
    assert (ended.code, ended.errors) == (0, [])
    assert len(_read((batchkms.folder / "out.jsonl").read_text())) == 12


def test_both_example_inventories_hold_the_same_secrets() -> None:
    rows = _read((ROOT / "examples" / "inventory.jsonl").read_text())
    with (ROOT / "examples" / "inventory.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["id"], row["plaintext"]) for row in rows] == [
        (row["id"], row["plaintext"]) for row in table
    ]
