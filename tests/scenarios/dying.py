"""Runs that are killed in the middle, and whether all is there when others have completed them."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import signal
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from batchkms import Credentials, KmsClient, StaticCredentials
from batchkms.csvtext import unguard
from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.ended import credentials, ended_too_early, larger, until_it

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
    """Runs a command and kills it once its partial output has so many bytes.

    Its rate has to leave it a second of work at least by then.
    """
    partial = next(Path(word) for word in command if word.startswith("out."))
    path = batchkms.folder / f"{partial}.partial"
    await killed_beyond(
        batchkms, command, environ=credentials(kms), stdin=stdin, partial=path, size=after_bytes
    )


async def killed_beyond(
    batchkms: Program,
    command: list[str],
    *,
    environ: dict[str, str],
    stdin: bytes | None = None,
    partial: Path,
    size: int,
) -> None:
    """Runs a command and kills it once this file has more bytes; it must not have ended before."""
    with TemporaryFile() as said:
        process = await asyncio.create_subprocess_exec(
            *batchkms.command(*command),
            cwd=batchkms.folder,
            env=batchkms.environ(environ),
            stdin=asyncio.subprocess.PIPE,
            stderr=said,
        )
        assert process.stdin is not None
        try:
            if stdin is not None:
                process.stdin.write(stdin)
            await until_it(process, larger(partial, size), stderr=said)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            process.stdin.close()
        assert process.returncode == -signal.SIGKILL, ended_too_early(process.returncode, said)


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
