"""Ciphertexts that are made, moved and decrypted again by the real program."""

from __future__ import annotations

import base64
import csv
import io
import json
import time
import uuid
from pathlib import Path
from typing import Any

from batchkms.csvtext import unguard
from batchkms.emulator import Emulator
from tests.emulator.calling import Clock, calling
from tests.scenarios.conftest import Program
from tests.scenarios.dying import killed_beyond
from tests.scenarios.ended import Ended, credentials
from tests.sources.inventory import Row, make_rows, to_jsonl


async def manage(kms: Emulator, action: str, **parameters: Any) -> dict[str, Any]:
    """The answer of a management call, which must succeed."""
    async with calling(kms, Clock(time.time())) as caller:
        answer = await caller.call(action, parameters)
    assert "Error" not in answer, answer
    return answer


async def new_key(kms: Emulator) -> str:
    """The id of a CMK that was made just now."""
    answer = await manage(kms, "CreateKey", Alias=f"key-{uuid.uuid4()}")
    return str(answer["KeyId"])


def calls(kms: Emulator) -> dict[str, int]:
    """How often each action was called, without those that never were."""
    actions = kms.stats.as_json()["actions"]
    return {name: figures["calls"] for name, figures in actions.items() if figures["calls"]}


async def ran(
    batchkms: Program, kms: Emulator, *arguments: str, code: int = 0, rate: str = "off"
) -> Ended:
    """Runs a command against an emulator, which must end with this exit code."""
    ended = await batchkms.beside(
        *arguments, "--endpoint", kms.endpoint, "--rate", rate, environ=credentials(kms)
    )
    assert ended.code == code, ended.stderr
    assert "internal error" not in ended.stderr
    return ended


async def encrypted(
    batchkms: Program,
    kms: Emulator,
    rows: list[Row],
    *more: str,
    output: str = "enc.jsonl",
    rate: str = "off",
) -> dict[int, dict[str, Any]]:
    """Encrypts rows under the demo key; the results by their seq."""
    batchkms.write("in.jsonl", to_jsonl(rows))
    command = ("encrypt", "in.jsonl", "-o", output, "--key-id", kms.demo_key_id, *more)
    await ran(batchkms, kms, *command, rate=rate)
    return results(batchkms.folder / output)


def plain_rows(count: int, seed: int = 1) -> list[Row]:
    """Rows of every shape of secret."""
    return make_rows(count, seed)


def results(path: Path) -> dict[int, dict[str, Any]]:
    """The rows of a result file by their seq; each seq must be there once."""
    if path.suffix == ".csv":
        table = csv.DictReader(io.StringIO(path.read_bytes().decode(), newline=""))
        rows: list[dict[str, Any]] = [
            {name: value for name, value in row.items() if value} | {"id": unguard(row["id"])}
            for row in table
        ]
    else:
        rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    by_seq = {int(row["seq"]): row for row in rows}
    assert len(by_seq) == len(rows)
    return by_seq


def plaintext(row: dict[str, Any]) -> bytes:
    """The bytes that a row of decrypt holds."""
    text = row["plaintext"]
    return base64.b64decode(text) if row["encoding"] == "base64" else str(text).encode()


def assert_same(rows: list[Row], decrypted: dict[int, dict[str, Any]]) -> None:
    """Every row is there, byte for byte, with its id and its context."""
    assert sorted(decrypted) == list(range(1, len(rows) + 1))
    for seq, row in enumerate(rows, 1):
        found = decrypted[seq]
        assert found["status"] == "ok", found
        assert plaintext(found) == row.plaintext.encode()
        assert found["id"] == (row.id or str(seq))
        assert found.get("encryption_context") == row.context


async def killed_in_the_middle(
    batchkms: Program, kms: Emulator, *command: str, partial: str, after_bytes: int
) -> int:
    """Kills a command once its partial output has so many bytes; the rows that it holds then."""
    path = batchkms.folder / partial
    await killed_beyond(
        *(batchkms, [*command, "--endpoint", kms.endpoint]),
        environ=credentials(kms),
        partial=path,
        size=after_bytes,
    )
    return path.read_bytes().count(b"\n")
