"""A gateway that sends answers again, to whichever of several processes asks next."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import orjson

from tests.kms.servers import Seen, http, listening, read_request
from tests.scenarios.conftest import Program

ENVIRON = {"TENCENTCLOUD_SECRET_ID": "EXAMPLE", "TENCENTCLOUD_SECRET_KEY": "example"}


async def test_an_answer_that_comes_to_two_processes_stops_the_run(batchkms: Program) -> None:
    batchkms.write(
        "in.jsonl", "".join(f'{{"id":"{n}","plaintext":"secret {n}"}}\n' for n in range(2_000))
    )
    last: dict[int, bytes] = {}
    number = 0

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal number
        mine = len(last)
        last[mine] = b""
        seen = Seen()
        while True:
            await read_request(reader, seen)
            number += 1
            plaintext = orjson.loads(seen.bodies[-1])["Plaintext"].rstrip("=")
            fields = {"CiphertextBlob": f"of.{plaintext[::-1]}", "KeyId": "k"}
            fields["RequestId"] = f"r-{number}"
            last[mine] = http(orjson.dumps({"Response": fields}))
            # Now and then, what another connection was answered.
            others = [answer for who, answer in last.items() if who != mine and answer]
            writer.write(others[0] if others and number % 50 == 0 else last[mine])
            await writer.drain()

    async with listening(peer) as port:
        command = ["encrypt", "in.jsonl", "-o", "out.jsonl", "--rate", "off", "--key-id", "k"]
        command += ["--endpoint", f"http://127.0.0.1:{port}", "--region", "r"]
        more = ["--processes", "2", "--concurrency", "2"]
        ended = await batchkms.beside(*command, *more, environ=ENVIRON)
        assert ended.code == 3, ended.stderr
        assert "an answer has come twice, to two processes" in ended.errors[0]
        assert "--resume --processes 1" in ended.hints[0]
    kept = batchkms.folder / "out.jsonl.partial"
    assert len(_request_ids(kept)) == len({*_request_ids(kept)})


def _request_ids(path: Path) -> list[Any]:
    if not path.exists():
        return []
    return [json.loads(line)["request_id"] for line in path.read_text().splitlines()]
