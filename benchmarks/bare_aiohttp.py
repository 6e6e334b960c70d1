"""The least that a script could do: sign and send Encrypt with aiohttp, at a rate or flat out.

    python -m benchmarks.bare_aiohttp ENDPOINT KEY_ID CALLS RATE [LOOP]

RATE 0 is no limit, LOOP asyncio (the default) or uvloop.

Prints one JSON line. Nothing is retried, classified or written: this is what batchkms's own
work is compared with. The credentials come from the environment.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine

import aiohttp
import uvloop

from batchkms.kms.signing import RequestSigner

IN_FLIGHT = 64

Call = Callable[[aiohttp.ClientSession, int], Coroutine[None, None, None]]


async def _main(endpoint: str, key_id: str, calls: int, rate: float) -> None:
    signer = RequestSigner(host=endpoint.partition("://")[2])
    secret_id = os.environ["TENCENTCLOUD_SECRET_ID"]
    secret_key = os.environ["TENCENTCLOUD_SECRET_KEY"]
    ok = 0

    async def call(session: aiohttp.ClientSession, number: int) -> None:
        nonlocal ok
        plaintext = base64.b64encode(b"benchmark row %d" % number).decode()
        body = json.dumps({"KeyId": key_id, "Plaintext": plaintext}).encode()
        now = int(time.time())
        signed = signer.authorization(secret_id, secret_key, now, hashlib.sha256(body).hexdigest())
        headers = {
            "Content-Type": "application/json",
            "X-TC-Action": "Encrypt",
            "X-TC-Version": "2019-01-18",
            "X-TC-Region": "ap-guangzhou",
            "X-TC-Timestamp": str(now),
            "Authorization": signed,
        }
        async with session.post(f"{endpoint}/", data=body, headers=headers) as answer:
            response = (await answer.json())["Response"]
        ok += "CiphertextBlob" in response

    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    async with aiohttp.ClientSession(connector=connector) as session:
        began = time.perf_counter()
        if rate:
            await _paced(call, session, calls, rate)
        else:
            await _flat_out(call, session, calls)
        wall_s = time.perf_counter() - began
    print(json.dumps({"ok": ok, "calls": calls, "wall_s": wall_s, "per_second": calls / wall_s}))


async def _paced(call: Call, session: aiohttp.ClientSession, calls: int, rate: float) -> None:
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(calls):
            ahead_s = began + number / rate - time.perf_counter()
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
            group.create_task(call(session, number))


async def _flat_out(call: Call, session: aiohttp.ClientSession, calls: int) -> None:
    numbers = iter(range(calls))

    async def work() -> None:
        for number in numbers:
            await call(session, number)

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(work())


if __name__ == "__main__":
    made = uvloop.new_event_loop if sys.argv[5:] == ["uvloop"] else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=made) as runner:
        runner.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
