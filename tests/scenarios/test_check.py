"""`batchkms check` and `--dry-run`: all is told, and nothing is sent or made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.ended import Ended

ROWS = [
    {"id": "a", "plaintext": "canary-one"},
    {"id": "a", "plaintext": "canary-two", "encryption_context": {"app": "x"}},
    {"id": "b", "plaintext": ""},
    {"id": "c", "plaintext": "x" * 5_000},
]
INVENTORY = "".join(json.dumps(row) + "\n" for row in ROWS) + '{"id": "canary-bro\n'


def service(kms: Emulator) -> tuple[tuple[str, ...], dict[str, str]]:
    """Flags and environment to reach an emulator."""
    environ = {
        "TENCENTCLOUD_SECRET_ID": kms.secret_id,
        "TENCENTCLOUD_SECRET_KEY": kms.secret_key,
    }
    return ("--endpoint", kms.endpoint, "--key-id", kms.demo_key_id), environ


def told(ended: Ended) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(ended.stdout)
    return report


async def test_everything_is_told_and_no_row_is_sent(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.jsonl", INVENTORY)
    flags, environ = service(kms)
    arguments = ("check", "in.jsonl", *flags, "--summary", "json", "-o", "bad.jsonl")
    ended = await batchkms.beside(*arguments, environ=environ)
    assert (ended.code, ended.stderr) == (1, "")
    report = told(ended)
    assert (report["rows"], report["sendable"], report["failing"]) == (5, 2, 3)
    assert report["codes"] == {"EmptyPlaintext": 1, "PlaintextTooLarge": 1, "InvalidJson": 1}
    assert report["duplicates"]["named"] == [{"id": "a", "rows": 2, "seqs": [1, 2]}]
    assert report["account"]["keys"][0]["state"] == "Enabled"
    assert (report["calls"], report["account"]["quota"]) == (2, 30_000)
    failing = [
        json.loads(line) for line in (batchkms.folder / "bad.jsonl").read_text().splitlines()
    ]
    assert [(row["seq"], row["code"]) for row in failing] == [
        (3, "EmptyPlaintext"),
        (4, "PlaintextTooLarge"),
        (5, "InvalidJson"),
    ]
    assert "canary" not in ended.stdout + json.dumps(failing)
    called = {name for name, action in kms.stats.actions.items() if action.ok}
    assert called == {"DescribeKey", "GetServiceStatus"}
    assert (batchkms.folder / "bad.jsonl").stat().st_mode & 0o777 == 0o600


async def test_the_text_names_the_rows_and_what_to_do(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.jsonl", INVENTORY)
    flags, environ = service(kms)
    ended = await batchkms.beside("check", "in.jsonl", *flags, environ=environ)
    assert (ended.code, ended.stdout) == (1, "")
    for text in ("5; 2 can be sent", "row 3 b: EmptyPlaintext: line 3", "a: rows 1, 2", "Enabled"):
        assert text in ended.stderr
    assert "canary" not in ended.stderr


async def test_a_right_inventory(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.csv", "id,plaintext\na,b\n")
    flags, environ = service(kms)
    ended = await batchkms.beside("check", "in.csv", *flags, environ=environ)
    assert ended.code == 0, ended.stderr


@pytest.mark.parametrize("missing", [(), ("--region", "ap-guangzhou")])
def test_without_the_means_to_ask_the_service_the_input_is_checked_all_the_same(
    batchkms: Program, missing: tuple[str, ...]
) -> None:
    batchkms.write("in.csv", "id,plaintext\na,b\n")
    ended = batchkms("check", "in.csv", *missing, environ={"no_proxy": "*"})
    assert ended.code == 0, ended.stderr
    assert "the service is not asked" in ended.stderr


def test_an_input_that_cannot_be_used(batchkms: Program) -> None:
    batchkms.write("in.csv", "id,secret\na,b\n")
    ended = batchkms("check", "in.csv")
    assert ended.code == 2
    assert "there is no column 'plaintext'" in ended.errors[0]
    assert batchkms("check", "none.jsonl").code == 2


def test_an_empty_input(batchkms: Program) -> None:
    batchkms.write("in.jsonl", "\n\n")
    assert batchkms("check", "in.jsonl").code == 5


def test_the_file_for_failing_rows_is_never_replaced(batchkms: Program) -> None:
    batchkms.write("in.jsonl", INVENTORY)
    path = batchkms.write("bad.jsonl", "mine")
    ended = batchkms("check", "in.jsonl", "-o", "bad.jsonl")
    assert ended.code == 2
    assert "bad.jsonl cannot be written: File exists" in ended.errors[0]
    assert path.read_text() == "mine"


@pytest.mark.parametrize("flag", ["--overwrite", "--resume"])
def test_a_repeated_check_replaces_its_file_as_a_whole(batchkms: Program, flag: str) -> None:
    batchkms.write("in.jsonl", INVENTORY)
    path = batchkms.write("bad.jsonl", "old\n" * 1_000)
    before = _files(batchkms.folder)
    for _ in range(2):
        assert batchkms("check", "in.jsonl", "-o", "bad.jsonl", flag).code == 1
        assert [json.loads(line)["seq"] for line in path.read_text().splitlines()] == [3, 4, 5]
        assert path.stat().st_mode & 0o777 == 0o600
    assert _files(batchkms.folder) == before
    assert batchkms("check", "none.jsonl", "-o", "bad.jsonl", flag).code == 2
    assert len(path.read_text().splitlines()) == 3
    assert _files(batchkms.folder) == before


@pytest.mark.parametrize("odd", ["a link", "a folder", "the input", "an output"])
def test_what_a_check_does_not_replace(batchkms: Program, odd: str) -> None:
    folder = batchkms.folder
    mine = batchkms.write("in.jsonl", INVENTORY)
    output = "in.jsonl" if odd == "the input" else "bad.jsonl"
    if odd == "a link":
        (folder / output).symlink_to(mine)
    elif odd == "a folder":
        (folder / output).mkdir()
    elif odd == "an output":
        batchkms.write(output, "results")
        batchkms.write(f"{output}.run.json", "{}")
    before = _files(folder)
    ended = batchkms("check", "in.jsonl", "-o", output, "--overwrite")
    assert ended.code == 2
    assert output in ended.errors[0] and ended.hints
    assert mine.read_text() == INVENTORY
    assert _files(folder) == before


def test_a_list_that_begins_with_a_check_can_be_resumed(batchkms: Program) -> None:
    batchkms.write("in.jsonl", INVENTORY)
    batchkms.write(
        "job.toml",
        """
[[step]]
command = "check"
input = "in.jsonl"
output = "bad.jsonl"
allow-failures = true

[[step]]
command = "encrypt"
input = "in.jsonl"
output = "out.jsonl"
allow-failures = true
""",
    )
    for _ in range(2):
        ended = batchkms("run", "job.toml", "--emulator", "--resume")
        assert (ended.code, ended.errors) == (1, []), ended.stderr


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("command", ["encrypt", "decrypt", "reencrypt"])
async def test_a_dry_run_of_each_command_makes_nothing(
    batchkms: Program, kms: Emulator, command: str
) -> None:
    batchkms.write("in.jsonl", INVENTORY)
    flags, environ = service(kms)
    made = await batchkms.beside("encrypt", "in.jsonl", *flags, "-o", "enc.jsonl", environ=environ)
    assert made.code == 1
    before = _files(batchkms.folder)
    source = "in.jsonl" if command == "encrypt" else "enc.jsonl"
    more = flags if command != "decrypt" else flags[:2]
    ended = await batchkms.beside(
        command, source, *more, "-o", "new.jsonl", "--dry-run", environ=environ
    )
    assert ended.code == 1
    assert "nothing was sent" in ended.stderr
    assert _files(batchkms.folder) == before
    assert kms.stats.actions["Encrypt"].ok == 2
    assert not kms.stats.actions["Decrypt"].ok and not kms.stats.actions["ReEncrypt"].ok


async def test_a_dry_run_refuses_what_the_run_would_refuse(
    batchkms: Program, kms: Emulator
) -> None:
    batchkms.write("in.jsonl", INVENTORY)
    batchkms.write("out.jsonl", "")
    flags, environ = service(kms)
    ended = await batchkms.beside(
        "encrypt", "in.jsonl", *flags, "-o", "out.jsonl", "--dry-run", environ=environ
    )
    assert ended.code == 2
    assert "exists already" in ended.errors[0]


async def test_an_export_of_another_tool_is_encrypted_resumed_and_audited(
    batchkms: Program, kms: Emulator
) -> None:
    batchkms.write("app.env", "DB_PASSWORD='canary one'\nexport TOKEN=two\n")
    flags, environ = service(kms)
    job = ("encrypt", "app.env", "--input-profile", "dotenv", *flags, "-o", "out.jsonl")
    assert (await batchkms.beside(*job, environ=environ)).code == 0
    rows = [json.loads(line) for line in (batchkms.folder / "out.jsonl").read_text().splitlines()]
    assert {row["id"] for row in rows} == {"DB_PASSWORD", "TOKEN"}
    assert (await batchkms.beside(*job, "--resume", environ=environ)).code == 0
    assert batchkms("audit", "out.jsonl").code == 0
    assert batchkms("retry", "out.jsonl", environ=environ).code == 0
    other = await batchkms.beside(
        "check", "app.env", "--input-profile", "dotnev", *flags, environ=environ
    )
    assert (other.code, other.hints) == (2, ["is it dotenv?"])


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
async def test_kept_columns_come_through_a_killed_and_a_retried_run(
    batchkms: Program, kms: Emulator, suffix: str
) -> None:
    batchkms.write("in.jsonl", '{"id":"a","plaintext":"p","owner":"=team","n":1.50}\n{"id":"b"}\n')
    flags, environ = service(kms)
    output = f"out.{suffix}"
    job = ("encrypt", "in.jsonl", *flags, "--keep", "owner,n", "-o", output)
    assert (await batchkms.beside(*job, environ=environ)).code == 1
    text = (batchkms.folder / output).read_text()
    assert ('"owner":"=team","n":1.50}' if suffix == "jsonl" else ",=team,1.50") in text
    assert batchkms("audit", output).code == 0
    retry = ("retry", output, "--class", "invalid_record")
    assert (await batchkms.beside(*retry, environ=environ)).code == 1
    assert batchkms("audit", output).code == 0


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("--keep", "ownr"),
        ("--context-field", "ctx"),
        ("--key-field", "cmk"),
        ("--id-field", "name"),
    ],
)
async def test_a_field_that_no_row_has_is_told_and_speaks_against_a_run(
    batchkms: Program, kms: Emulator, option: str, name: str
) -> None:
    batchkms.write("in.jsonl", '{"id":"a","plaintext":"p","owner":"team"}\n')
    flags, environ = service(kms)
    named = ("in.jsonl", *flags, option, f"owner,{name}" if option == "--keep" else name)
    says = f"next: no row has a field '{name}' ({option}): check its name"
    for looks in [("encrypt", "--dry-run"), *([("check",)] if option != "--keep" else [])]:
        looked = await batchkms.beside(looks[0], *named, *looks[1:], environ=environ)
        assert (looked.code, says in looked.stderr) == (1, True), looked.stderr
    ended = await batchkms.beside("encrypt", *named, "-o", "out.jsonl", environ=environ)
    assert (ended.code, says in ended.stderr) == (0, True), ended.stderr
    assert "'owner'" not in ended.stderr


@pytest.mark.parametrize(
    ("keep", "says"),
    [("plaintext", "holds the plaintext"), ("status", "have a column 'status' of their own")],
)
def test_what_cannot_be_kept(batchkms: Program, keep: str, says: str) -> None:
    batchkms.write("in.jsonl", INVENTORY)
    ended = batchkms("encrypt", "in.jsonl", "--emulator", "-o", "out.jsonl", "--keep", keep)
    assert ended.code == 2
    assert says in ended.errors[0]
