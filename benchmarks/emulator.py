"""How many verified Encrypts a second the emulator answers, beside the least that could do it.

    python -m benchmarks.emulator [SECONDS]

The peer is a bare aiohttp.web application with the same crypto: it verifies the signature and
encrypts with AES-SIV, and checks, counts and keeps nothing else. A third server answers the same
bytes to everything, which shows what the generator could do. All run in processes of their own,
by turns, under the load of `rawload`. `per_core_second` is answers for each second of CPU time
that the server took: on a machine that others use too, it is the figure that stays the same.
Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, cast

import orjson
import uvloop
from aiohttp import web
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from batchkms.kms.signing import RequestSigner, derive_signing_key
from benchmarks.processes import machine
from benchmarks.rawload import generate

PROCESSES = 2
"""Generators; each has connections of its own."""

REQUESTS = 512
ROUNDS = 3
_KEY_VARIABLE = "TENCENTCLOUD_SECRET_KEY"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@contextmanager
def _server(*arguments: str) -> Iterator[tuple[str, int]]:
    """A server in a process of its own: the line that it prints when it listens, and its pid."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise RuntimeError(f"{arguments} did not start")
        yield line.strip(), process.pid
    finally:
        process.terminate()
        process.wait(timeout=20)
        if process.stdout:
            process.stdout.close()


def _cpu_s(pid: int) -> float:
    """The CPU time of a process and of its children that are there, in seconds (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return own + sum(_cpu_s(int(child)) for child in children)


def signed_requests(endpoint: str, ready: dict[str, str]) -> list[bytes]:
    """Encrypts of different plaintexts as a client would send them now, byte for byte."""
    host = endpoint.removeprefix("http://")
    signer, now_s = RequestSigner(host=host), int(time.time())
    return [_signed_request(host, signer, now_s, ready) for _ in range(REQUESTS)]


def _signed_request(host: str, signer: RequestSigner, now_s: int, ready: dict[str, str]) -> bytes:
    parameters = {
        "KeyId": ready["key_id"],
        "Plaintext": base64.b64encode(os.urandom(40)).decode(),
        "EncryptionContext": '{"app":"billing","env":"prod"}',
    }
    body = json.dumps(parameters).encode()
    authorization = signer.authorization(
        ready["secret_id"], ready["secret_key"], now_s, hashlib.sha256(body).hexdigest()
    )
    head = (
        f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"X-TC-Action: Encrypt\r\nX-TC-Version: 2019-01-18\r\nX-TC-Timestamp: {now_s}\r\n"
        f"X-TC-Region: {ready['region']}\r\nAuthorization: {authorization}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def compare(seconds: float) -> dict[str, Any]:
    """Loads all servers by turns; medians of each, and the emulator's ratio to the bare one."""
    with ExitStack() as stack:
        emulators = {}
        for name, workers in (("emulator", "1"), ("emulator, 2 workers", "2")):
            data_dir = stack.enter_context(tempfile.TemporaryDirectory())
            options = ("--data-dir", data_dir, "--rate-limit", "none", "--workers", workers)
            arguments = ("batchkms", "emulator", "--log-level", "error", *options)
            line, pid = stack.enter_context(_server(*arguments))
            emulators[name] = (json.loads(line), pid)
        ready = emulators["emulator"][0]
        os.environ[_KEY_VARIABLE] = ready["secret_key"]
        servers = {name: (told["endpoint"], told, pid) for name, (told, pid) in emulators.items()}
        for name in ("bare", "constant"):
            endpoint, pid = stack.enter_context(_server("benchmarks.emulator", name))
            servers[name] = (endpoint, ready, pid)
        figures: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
        for _ in range(ROUNDS):
            for name, (endpoint, credential, pid) in servers.items():
                requests = signed_requests(endpoint, credential)
                figures[name].append(_round(endpoint, requests, seconds, pid))
    medians = {name: _medians(rounds) for name, rounds in figures.items()}
    ours, bare = medians["emulator"], medians["bare"]
    return {
        "machine": machine(),
        **medians,
        "ratio": round(ours["per_second"] / bare["per_second"], 2),
        "ratio_per_core_second": round(ours["per_core_second"] / bare["per_core_second"], 2),
    }


def _round(endpoint: str, requests: Sequence[bytes], seconds: float, pid: int) -> dict[str, float]:
    before_s = _cpu_s(pid)
    reached = generate(endpoint, requests, seconds, PROCESSES)
    return {
        "per_second": reached.per_second,
        "per_core_second": reached.per_second * seconds / (_cpu_s(pid) - before_s),
        "busiest_generator": reached.busiest_share,
    }


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    exact = {name: median(each[name] for each in rounds) for name in rounds[0]}
    return {
        name: round(value, 2) if name == "busiest_generator" else round(value)
        for name, value in exact.items()
    }


class _Constant(asyncio.Protocol):
    """Answers the same bytes whenever something has come."""

    ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n{"Response":{"CiphertextBlob":"xx"}}'

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the connection."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """Answers."""
        self._transport.write(self.ANSWER)


async def _serve_constant() -> None:
    server = await asyncio.get_running_loop().create_server(_Constant, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


async def _serve_bare() -> None:
    siv = AESSIV(os.urandom(64))
    keys: dict[str, bytes] = {}

    async def encrypt(request: web.Request) -> web.Response:
        body, headers = await request.read(), request.headers
        authorization = headers["Authorization"]
        date, given = authorization.split("/")[1], authorization.rpartition("=")[2]
        if date not in keys:
            keys[date] = derive_signing_key(os.environ[_KEY_VARIABLE], date)
        canonical = (
            f"POST\n/\n\ncontent-type:{headers['Content-Type']}\nhost:{headers['Host']}\n\n"
            f"content-type;host\n{hashlib.sha256(body).hexdigest()}"
        )
        to_sign = (
            f"TC3-HMAC-SHA256\n{headers['X-TC-Timestamp']}\n{date}/kms/tc3_request\n"
            f"{hashlib.sha256(canonical.encode()).hexdigest()}"
        )
        computed = hmac.digest(keys[date], to_sign.encode(), "sha256").hex()
        if not hmac.compare_digest(computed, given):
            raise web.HTTPForbidden
        fields = orjson.loads(body)
        plaintext = base64.b64decode(fields["Plaintext"])
        sealed = siv.encrypt(plaintext, [fields["EncryptionContext"].encode()])
        answer = {
            "CiphertextBlob": base64.b64encode(sealed).decode(),
            "KeyId": fields["KeyId"],
            "RequestId": str(uuid.uuid4()),
        }
        return web.Response(
            body=orjson.dumps({"Response": answer}), content_type="application/json"
        )

    application = web.Application()
    application.router.add_post("/", encrypt)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1:] == ["bare"]:
        uvloop.run(_serve_bare())
    elif sys.argv[1:] == ["constant"]:
        uvloop.run(_serve_constant())
    else:
        print(json.dumps(compare(float(sys.argv[1]) if sys.argv[1:] else 3.0), indent=2))
