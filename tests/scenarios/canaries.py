"""Secrets that are known by sight, a service that repeats them, and the search for them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from aiohttp import web

from tests.scenarios.conftest import Program

KEY = "canary+Secret/Key-9Zx4Lq81mT"
TOKEN = "canary-Session.Token-5Tt8Wb62nR"
SECRETS = {
    "TENCENTCLOUD_SECRET_ID": "EXAMPLE",
    "TENCENTCLOUD_SECRET_KEY": KEY,
    "TENCENTCLOUD_TOKEN": TOKEN,
}

WINDOW = 12
"""So long a piece of any written form of a secret is a leak."""


@cache
def canary(number: int) -> str:
    """A plaintext like no other text, with characters that each way to write it escapes."""
    noise = base64.b85encode(hashlib.sha256(b"%d" % number).digest()).decode()
    return f'{noise[:9]}"é/\\{noise[9:20]}&+ {noise[20:24]}'


def forms(secret: str) -> set[bytes]:
    """Every way in which a secret may be written: raw, escaped, hexadecimal, base64."""
    encoded = secret.encode()
    texts = {secret, encoded.hex(), encoded.hex().upper(), quote(secret, safe="")}
    texts |= {quote_plus(secret), repr(secret)[1:-1], repr(encoded)[2:-1]}
    texts |= {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for offset in range(3):
            # What stays the same of base64, whatever stands before and after.
            inside = encode(b"\0" * offset + encoded)
            texts.add(inside[4 if offset else 0 : len(inside) - 4].decode())
    return {text.encode() for text in texts}


def needles(secrets: Iterable[str]) -> frozenset[bytes]:
    """Every piece of every form of these secrets, and of the key and the token."""
    return frozenset(
        form[at : at + WINDOW]
        for secret in (*secrets, KEY, TOKEN)
        for form in forms(secret)
        for at in range(len(form) - WINDOW + 1)
    )


def found_in(content: bytes, searched: frozenset[bytes]) -> bytes | None:
    """What surrounds the first piece of a secret, None if there is none."""
    for at in range(len(content) - WINDOW + 1):
        if content[at : at + WINDOW] in searched:
            return content[max(0, at - 60) : at + 60]
    return None


def assert_nowhere(
    batchkms: Program, searched: frozenset[bytes], *texts: str | bytes, but: tuple[str, ...] = ()
) -> None:
    """No secret is in any file that is left, inputs (`in.*`) aside, nor in these texts."""
    kept = ("in.", *but)
    for path in batchkms.folder.rglob("*"):
        if path.is_file() and not path.name.startswith(kept):
            assert found_in(path.read_bytes(), searched) is None, path
    for text in texts:
        content = text.encode() if isinstance(text, str) else text
        assert found_in(content, searched) is None


class MeanService:
    """Answers each row in a way of its own, and repeats all it was given wherever it can.

    `command_lines` are those of all processes on the machine while the first call went on.
    """

    def __init__(self) -> None:
        self.command_lines = b""
        self._calls = 0

    def app(self) -> web.Application:
        """It as an application."""
        app = web.Application()
        app.router.add_post("/", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if not self.command_lines:
            lines = [_read(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
            self.command_lines = b"\n".join(lines)
        self._calls += 1
        secret = base64.b64decode(body["Plaintext"]).decode("utf-8", "replace")
        kind = sum(secret.encode()) % 12
        if kind == 0:
            if request.transport is not None:
                request.transport.close()
            return web.Response()
        if kind == 1:
            return web.Response(text=f"<html>{secret} {body} {dict(request.headers)}</html>")
        if kind == 2:
            return web.Response(status=500, text=f"{secret} {body}")
        if kind == 3:
            return web.Response(text=json.dumps({"Response": body})[:-3])
        return web.json_response({"Response": self._response(kind, secret, body, request)})

    def _response(
        self, kind: int, secret: str, body: dict[str, Any], request: web.Request
    ) -> dict[str, Any]:
        request_id = f"r-{self._calls}"
        written = [form.decode() for form in sorted(forms(secret))]
        if kind in (4, 5):
            return {
                "CiphertextBlob": f"AAAA-k-{self._calls}",
                "KeyId": body["KeyId"] if kind == 4 else secret,
                "RequestId": request_id,
            }
        messages = {
            6: f"bad plaintext {secret} in {body} with {dict(request.headers)}",
            7: " or ".join(written),
            8: f"token {request.headers.get('X-TC-Token')} is none; {dict(request.headers)}",
            9: f"{written[self._calls % len(written)]}: no",
            10: f"bad value {secret.upper()} {secret[3:]}",
        }
        code = "InternalError" if kind == 9 else "InvalidParameterValue.InvalidPlaintext"
        error = {"Code": code, "Message": messages.get(kind, f"it was {secret!a}")}
        return {"Error": error, "RequestId": request_id, "Plaintext": body["Plaintext"]}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # That process has ended.
        return b""
