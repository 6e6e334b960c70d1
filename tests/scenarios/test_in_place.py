"""`encrypt --in-place-column`: OUT is the input, with ciphertexts where the plaintexts were."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from batchkms import Credentials, KmsClient, StaticCredentials
from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.dying import inventory, killed, results_in, secret
from tests.scenarios.ended import Ended, credentials, larger, target, until_it
from tests.sources.inventory import make_rows, to_csv, to_jsonl

BAD_JSONL = (
    b'{"id":"a","plaintext":"one","n":1.50}\n{"id":"torn","plaintext":"tornsecret\n\n'
    b'{"plaintext":"","id":"empty"}\n{"id":"b", "plaintext" : "two"}\r\n{"Plaintext":"misnamed"}\n'
)
BAD_CSV = (
    b'id,plaintext,owner\r\na,one,"x, y"\r\ntornsecret\r\nempty,,z\r\n'
    b'b,"two",\r\n"c"misnamed,three,z\r\n'
)


async def _encrypt(
    batchkms: Program, kms: Emulator, *options: str, given: str = "in.jsonl", to: str = "out.jsonl"
) -> Ended:
    return await batchkms.beside(
        *("encrypt", given, "-o", to, "--in-place-column", "--rate", "off"),
        *(*target(kms), *options),
        environ=credentials(kms),
    )


def _calls(kms: Emulator) -> int:
    return int(kms.stats.as_json()["actions"]["Encrypt"]["calls"])


async def _opened(kms: Emulator, ciphertext: str, context: str | None = None) -> str:
    given = StaticCredentials(Credentials(kms.secret_id, kms.secret_key))
    async with KmsClient(region=kms.region, endpoint=kms.endpoint, credentials=given) as client:
        answer = await client.decrypt(ciphertext, encryption_context=context)
    return answer.plaintext.decode()


def _rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        return [*csv.DictReader(io.StringIO(path.read_bytes().decode(), newline=""))]
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize(
    ("format", "results"),
    # Both formats in and both out, each of them with an input that is compressed and not.
    [("jsonl", "jsonl"), ("csv", "csv"), ("jsonl.gz", "csv"), ("csv.gz", "jsonl")],
)
async def test_out_is_the_input_but_for_one_column(
    batchkms: Program, kms: Emulator, format: str, results: str
) -> None:
    rows, plain = make_rows(300, seed=4), format.removesuffix(".gz")
    content = to_jsonl(rows) if plain == "jsonl" else to_csv(rows)
    batchkms.write(f"in.{format}", gzip.compress(content) if format != plain else content)
    ended = await _encrypt(
        *(batchkms, kms, "--output-format", results),
        given=f"in.{format}",
        to=f"out.{plain}",
    )
    assert ended.code == 0, ended.stderr
    out = batchkms.folder / f"out.{plain}"
    assert out.stat().st_mode & 0o777 == 0o600
    assert "in place: out." in ended.stderr
    given = batchkms.write(f"given.{plain}", content)
    made = _rows(out)
    noted = results_in(batchkms.folder / f"out.{plain}.results.{results}")
    ciphertexts = {row["seq"]: row["ciphertext"] for row in noted}
    for seq, (before, after) in enumerate(zip(_rows(given), made, strict=True), start=1):
        assert after == {**before, "plaintext": ciphertexts[seq]}
        assert [*after] == [*before]
    for row, after in list(zip(rows, made, strict=True))[::29]:
        assert await _opened(kms, after["plaintext"], row.context) == row.plaintext
    assert not (batchkms.folder / f"out.{plain}.tmp").exists()
    audited = batchkms("audit", f"out.{plain}.results.{results}")
    assert audited.code == 0, audited.stderr


@pytest.mark.parametrize(("format", "content"), [("jsonl", BAD_JSONL), ("csv", BAD_CSV)])
async def test_failed_rows_hold_no_plaintext(
    batchkms: Program, kms: Emulator, format: str, content: bytes
) -> None:
    batchkms.write(f"in.{format}", content)
    ended = await _encrypt(
        batchkms, kms, "--summary", "json", given=f"in.{format}", to=f"out.{format}"
    )
    assert ended.code == 1, ended.stderr
    told = json.loads(ended.stdout)["in_place"]
    assert told["results"] == f"out.{format}.results.jsonl"
    assert (told["rows"], told["empty"], told["unread"]) == (5, 3, 2)
    written = (batchkms.folder / f"out.{format}").read_bytes()
    assert not [word for word in (b"tornsecret", b"misnamed", b"one", b"three") if word in written]
    rows = _rows(batchkms.folder / f"out.{format}")
    assert await _opened(kms, rows[0]["plaintext"]) == "one"
    assert await _opened(kms, rows[3]["plaintext"]) == "two"
    assert (rows[2]["id"], rows[2]["plaintext"]) == ("empty", None if format == "jsonl" else "")
    if format == "jsonl":
        assert [rows[1], rows[4]] == [{}, {}]
        assert b'"n":1.50}\n' in written
    else:
        assert written.splitlines()[2] == written.splitlines()[5] == b",,"


async def test_a_run_that_dies_is_resumed_and_out_made_once_it_is_complete(
    batchkms: Program, kms: Emulator
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl"))
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl.results.jsonl", "--rate", "500"]
    await killed(batchkms, kms, [*command, *target(kms)], stdin=None, after_bytes=20_000)
    refused = await _encrypt(batchkms, kms)
    assert refused.code == 2
    assert "go on with it by --resume" in refused.hints[0]
    ended = await _encrypt(batchkms, kms, "--resume")
    assert ended.code == 0, ended.stderr
    rows = _rows(batchkms.folder / "out.jsonl")
    assert [row["id"] for row in rows] == [f"=row {seq}" for seq in range(1, 1501)]
    assert await _opened(kms, rows[700]["plaintext"]) == secret(701)


async def test_out_is_made_of_results_that_are_there(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=20))
    assert (await _encrypt(batchkms, kms)).code == 0
    out = batchkms.folder / "out.jsonl"
    made = out.read_bytes()
    # As if the run had died between the results and OUT, in the middle of the draft.
    out.rename(batchkms.folder / "out.jsonl.tmp")
    refused = await _encrypt(batchkms, kms)
    assert refused.code == 2
    assert "was not made" in refused.errors[0]
    assert "--resume" in refused.hints[0]
    for _ in range(2):
        ended = await _encrypt(batchkms, kms, "--resume")
        assert ended.code == 0, ended.stderr
        assert out.read_bytes() == made
    assert not (batchkms.folder / "out.jsonl.tmp").exists()
    assert _calls(kms) == 20


async def test_an_out_that_is_there_is_refused_before_anything_is_sent(
    batchkms: Program, kms: Emulator
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=20))
    out = batchkms.write("out.jsonl", "somebody else's")
    for options in ([], ["--resume"]):
        ended = await _encrypt(batchkms, kms, *options)
        assert ended.code == 2
        assert "out.jsonl" in ended.errors[0]
        assert out.read_text() == "somebody else's"
    assert "Encrypt" not in kms.stats.as_json()["actions"] or not _calls(kms)
    assert (await _encrypt(batchkms, kms, "--overwrite")).code == 0
    assert len(_rows(out)) == 20
    out.write_text("changed since")
    ended = await _encrypt(batchkms, kms, "--resume")
    assert ended.code == 3
    assert out.read_text() == "changed since"
    assert (await _encrypt(batchkms, kms, "--overwrite")).code == 0
    assert len(_rows(out)) == 20


async def test_after_a_retry_out_is_made_anew(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=20))
    kms.faults.add({"action": "Encrypt", "code": "InternalError", "times": 3})
    ended = await _encrypt(batchkms, kms, "--max-attempts", "1")
    assert ended.code == 4
    out = batchkms.folder / "out.jsonl"
    assert sum(row["plaintext"] is None for row in _rows(out)) == 3
    retried = await batchkms.beside(
        "retry", "out.jsonl.results.jsonl", *("--endpoint", kms.endpoint), environ=credentials(kms)
    )
    assert retried.code == 0, retried.stderr
    ended = await _encrypt(batchkms, kms, "--resume")
    assert ended.code == 0, ended.stderr
    assert all(row["plaintext"] for row in _rows(out))


@pytest.mark.parametrize("change", ["size", "bytes", "gone"])
async def test_out_is_not_made_of_another_input(
    batchkms: Program, kms: Emulator, change: str
) -> None:
    content = inventory("jsonl", rows=2000)
    path = batchkms.write("in.jsonl", content)
    assert (await _encrypt(batchkms, kms)).code == 0
    (batchkms.folder / "out.jsonl").unlink()
    if change == "gone":
        path.unlink()
    else:
        # Behind what is looked at before a run is resumed.
        end = b"x" if change == "size" else b""
        path.write_bytes(
            content[:-30].replace(b"secret 1999", b"SECRET 1999") + content[-30:] + end
        )
    ended = await _encrypt(batchkms, kms, "--resume")
    assert ended.code == 2, ended.stderr
    assert {path.name for path in batchkms.folder.iterdir() if path.name.startswith("out")} == {
        f"out.jsonl.results.jsonl{suffix}" for suffix in ("", ".run.json", ".run.sums")
    }
    assert _calls(kms) == 2000


async def test_an_interrupted_run_makes_no_out(batchkms: Program, kms: Emulator) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=300))
    process = await asyncio.create_subprocess_exec(
        *batchkms.command("encrypt", "in.jsonl", "-o", "out.jsonl", "--in-place-column"),
        *("--rate", "20", *target(kms)),
        cwd=batchkms.folder,
        env=batchkms.environ(credentials(kms)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    partial = batchkms.folder / "out.jsonl.results.jsonl.partial"
    await until_it(process, larger(partial, 0))
    process.terminate()
    assert await process.wait() == 130
    assert partial.exists()
    assert not (batchkms.folder / "out.jsonl").exists()
    ended = await _encrypt(batchkms, kms, "--resume")
    assert ended.code == 0, ended.stderr
    assert len(_rows(batchkms.folder / "out.jsonl")) == 300


@pytest.mark.parametrize(
    ("options", "to", "told"),
    [
        (["--mode", "envelope"], "out.jsonl", "cannot be decrypted without that key"),
        (["--oversize", "envelope"], "out.jsonl", "cannot be decrypted without that key"),
        (["--limit", "1"], "out.jsonl", "--limit cannot go together"),
        (["--input-profile", "dotenv"], "out.jsonl", "--input-profile cannot go together"),
        ([], "-", "reads the input twice"),
        ([], "out.csv", "and out.csv says otherwise"),
        ([], "out.jsonl.gz", "not written compressed"),
        (["--overwrite"], "in.jsonl", "is the input itself"),
        (["--overwrite"], "link.jsonl", "is a symbolic link"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    batchkms: Program, kms: Emulator, options: list[str], to: str, told: str
) -> None:
    content = inventory("jsonl", rows=3)
    batchkms.write("in.jsonl", content)
    os.symlink("in.jsonl.bak", batchkms.folder / "link.jsonl")
    ended = await _encrypt(batchkms, kms, *options, to=to)
    assert ended.code == 2
    assert told in ended.errors[0]
    assert ended.hints
    assert (batchkms.folder / "in.jsonl").read_bytes() == content
    assert sorted(path.name for path in batchkms.folder.iterdir()) == ["in.jsonl", "link.jsonl"]


@pytest.mark.parametrize("format", ["jsonl", "csv"])
async def test_an_input_without_rows_gives_an_out_without_rows(
    batchkms: Program, kms: Emulator, format: str
) -> None:
    content = inventory(format, rows=0)
    batchkms.write(f"in.{format}", content)
    ended = await _encrypt(batchkms, kms, given=f"in.{format}", to=f"out.{format}")
    assert ended.code == 5
    assert (batchkms.folder / f"out.{format}").read_bytes() == content
