"""How many verified Encrypts a second the emulator answers, beside the least that could do it.

    python -m benchmarks.emulator [SECONDS]

The peer is a bare aiohttp.web application with the same crypto: it verifies the signature and
encrypts with AES-SIV, and checks, counts and keeps nothing else. Both run in processes of their
own. The load is one request, signed once and repeated over kept connections by a raw protocol,
so that the generator is not the bottleneck. Prints one JSON line.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import sys
import tempfile
import time
import uuid
from typing import cast

import orjson
import uvloop
from aiohttp import web
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from batchkms.kms.signing import RequestSigner, derive_signing_key
from benchmarks.processes import emulator, server

CONNECTIONS = 32
ROUNDS = 3
_KEY_VARIABLE = "TENCENTCLOUD_SECRET_KEY"


class Load(asyncio.Protocol):
    """One kept connection that sends the same request as soon as it is answered."""

    answered = 0

    def __init__(self, request: bytes, until_s: float) -> None:
        self._request = request
        self._until_s = until_s
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Takes an answer in and sends the next request."""
        self._received += data
        if not self._received.endswith(b'"}}'):
            return
        if b'"CiphertextBlob"' not in self._received:
            self.done.set_exception(RuntimeError(f"an Encrypt failed: {self._received.decode()}"))
            return
        self._received = b""
        Load.answered += 1
        if self._transport is None or time.perf_counter() > self._until_s:
            self.connection_lost(None)
            return
        self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends, for good or bad."""
        if self._transport is not None:
            self._transport.close()
        if not self.done.done():
            self.done.set_result(None)


async def per_second(endpoint: str, request: bytes, seconds: float) -> float:
    """The answers a second of a server under this load."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    loop = asyncio.get_running_loop()
    Load.answered = 0
    began_s = time.perf_counter()
    loads = []
    for _ in range(CONNECTIONS):
        _, load = await loop.create_connection(
            lambda: Load(request, began_s + seconds), host, int(port)
        )
        loads.append(load)
    await asyncio.gather(*(load.done for load in loads))
    return Load.answered / (time.perf_counter() - began_s)


def signed_request(endpoint: str, ready: dict[str, str]) -> bytes:
    """An Encrypt as a client would send it now, byte for byte."""
    host = endpoint.removeprefix("http://")
    parameters = {
        "KeyId": ready["key_id"],
        "Plaintext": base64.b64encode(os.urandom(40)).decode(),
        "EncryptionContext": '{"app":"billing","env":"prod"}',
    }
    body = json.dumps(parameters).encode()
    now_s = int(time.time())
    authorization = RequestSigner(host=host).authorization(
        ready["secret_id"], ready["secret_key"], now_s, hashlib.sha256(body).hexdigest()
    )
    head = (
        f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"X-TC-Action: Encrypt\r\nX-TC-Version: 2019-01-18\r\nX-TC-Timestamp: {now_s}\r\n"
        f"X-TC-Region: {ready['region']}\r\nAuthorization: {authorization}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def compare(seconds: float) -> dict[str, float]:
    """Runs both servers by turns; the median of each, and their ratio."""
    with tempfile.TemporaryDirectory() as data_dir, emulator(data_dir, rate_limit="none") as ready:
        os.environ[_KEY_VARIABLE] = ready["secret_key"]
        with server("-m", "benchmarks.emulator", "bare") as bare:
            figures: dict[str, list[float]] = {ready["endpoint"]: [], bare: []}
            for _ in range(ROUNDS):
                for endpoint, reached in figures.items():
                    request = signed_request(endpoint, ready)
                    reached.append(uvloop.run(per_second(endpoint, request, seconds)))
    ours, bares = (sorted(reached)[ROUNDS // 2] for reached in figures.values())
    return {
        "emulator_per_second": round(ours),
        "bare_per_second": round(bares),
        "ratio": round(ours / bares, 2),
    }


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
    else:
        print(json.dumps(compare(float(sys.argv[1]) if sys.argv[1:] else 3.0)))
