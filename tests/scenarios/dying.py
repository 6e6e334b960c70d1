"""Runs that are killed in the middle, and whether all is there when others have completed them."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

from batchkms import Credentials, KmsClient, StaticCredentials
from batchkms.csvtext import unguard
from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.ended import credentials, until

ROWS = 1_500


def secret(seq: int) -> str:
    """The plaintext of a row."""
    return f"example secret {seq}"


def inventory(format: str, *, rows: int = ROWS) -> bytes:
    """An inventory of this format, `jsonl.gz` and `csv.gz` too."""
    if format.startswith("jsonl"):
        text = "".join(
            json.dumps({"id": f"=row {seq}", "plaintext": secret(seq)}) + "\n"
            for seq in range(1, rows + 1)
        )
    else:
        lines = [f'"=row {seq}","{secret(seq)}"\r\n' for seq in range(1, rows + 1)]
        text = "id,plaintext\r\n" + "".join(lines)
    return gzip.compress(text.encode()) if format.endswith(".gz") else text.encode()


def results_in(path: Path) -> list[dict[str, Any]]:
    """The rows of a result file."""
    if path.name.endswith(".csv"):
        rows = csv.DictReader(io.StringIO(path.read_bytes().decode(), newline=""))
        return [{**row, "seq": int(row["seq"]), "id": unguard(row["id"])} for row in rows]
    return [json.loads(line) for line in path.read_text().splitlines()]


async def killed(
    batchkms: Program, kms: Emulator, command: list[str], *, stdin: bytes | None, after_bytes: int
) -> None:
    """Runs a command and kills it once its partial output has so many bytes."""
    process = await asyncio.create_subprocess_exec(
        *batchkms.command(*command),
        cwd=batchkms.folder,
        env=batchkms.environ(credentials(kms)),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdin is not None
    if stdin is not None:
        process.stdin.write(stdin)
    partial = next(Path(word) for word in command if word.startswith("out."))
    path = batchkms.folder / f"{partial}.partial"
    await asyncio.to_thread(until, lambda: path.exists() and path.stat().st_size > after_bytes)
    process.kill()
    await process.wait()
    process.stdin.close()


async def assert_all_decrypt(
    kms: Emulator,
    results: list[dict[str, Any]],
    rows: int = ROWS,
    *,
    seqs: list[int] | None = None,
) -> None:
    """Every row has one result, and those that are tried give its plaintext back."""
    assert sorted(row["seq"] for row in results) == (seqs or list(range(1, rows + 1)))
    given = StaticCredentials(Credentials(kms.secret_id, kms.secret_key))
    async with KmsClient(region=kms.region, endpoint=kms.endpoint, credentials=given) as client:
        for row in results[::37]:
            assert row["id"] == f"=row {row['seq']}"
            plaintext = (await client.decrypt(row["ciphertext"])).plaintext
            assert plaintext.decode() == secret(row["seq"])
