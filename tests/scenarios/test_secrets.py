"""A canary for every secret: whatever goes wrong, none of them is ever written anywhere."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.ended import credentials

CANARY = "canary-7Qm2-plaintext"
KEY_CANARY = "canary-9Zx4-secret-key"
TOKEN_CANARY = "canary-5Tt8-token"


def _forms(secret: str) -> list[bytes]:
    encoded = secret.encode()
    return [encoded, base64.b64encode(encoded)[:20], encoded.hex().encode()]


def _assert_nowhere(batchkms: Program, *texts: str) -> None:
    left = [path for path in batchkms.folder.rglob("*") if path.is_file()]
    written = {str(path): path.read_bytes() for path in left if path.name != "in.jsonl"}
    written |= {f"stream {number}": text.encode() for number, text in enumerate(texts)}
    for name, content in written.items():
        for secret in (CANARY, KEY_CANARY, TOKEN_CANARY):
            for form in _forms(secret):
                assert form not in content, name


def _environ() -> dict[str, str]:
    return {
        "TENCENTCLOUD_SECRET_ID": "EXAMPLE",
        "TENCENTCLOUD_SECRET_KEY": KEY_CANARY,
        "TENCENTCLOUD_TOKEN": TOKEN_CANARY,
    }


async def _echo(request: web.Request) -> web.Response:
    """An error message that repeats all it was given."""
    body = await request.text()
    plaintext = base64.b64decode(json.loads(body)["Plaintext"]).decode()
    message = f"bad plaintext {plaintext} in {body} with {dict(request.headers)}"
    error = {"Code": "InvalidParameterValue.InvalidPlaintext", "Message": message}
    return web.json_response({"Response": {"Error": error, "RequestId": "r-1"}})


async def _garbage(request: web.Request) -> web.Response:
    return web.Response(body=b"<html>" + await request.read(), content_type="text/html")


async def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.close()
    return web.Response()


@pytest.mark.parametrize("handler", [_echo, _garbage, _hang_up])
@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_no_secret_is_ever_written(
    batchkms: Program,
    handler: object,
    log_format: str,
) -> None:
    rows = [
        json.dumps({"id": "a", "plaintext": CANARY}),
        json.dumps({"id": "b", "plaintext": CANARY * 300}),
        json.dumps({"id": "c", "plaintext": [CANARY]}),
        json.dumps({"id": "d", "plaintext": CANARY, "encryption_context": [CANARY]}),
        '{"id": "e", "plaintext": "' + CANARY,
        json.dumps([CANARY]),
    ]
    batchkms.write("in.jsonl", "\n".join(rows) + "\n")
    app = web.Application()
    app.router.add_post("/", handler)  # type: ignore[arg-type]  # each handler in turn
    async with TestServer(app) as server:
        endpoint = f"http://127.0.0.1:{server.port}"
        ended = await batchkms.beside(
            *("encrypt", "in.jsonl", "-o", "out.jsonl", "--endpoint", endpoint, "--key-id", "k"),
            *("--log-level", "debug", "--log-format", log_format, "--max-attempts", "2"),
            environ=_environ(),
        )
    assert ended.code in (1, 4)
    _assert_nowhere(batchkms, ended.stdout, ended.stderr)


async def test_no_secret_is_written_when_all_goes_well(
    batchkms: Program, kms: Emulator, tmp_path: Path
) -> None:
    batchkms.write("in.jsonl", json.dumps({"id": "a", "plaintext": CANARY}) + "\n")
    ended = await batchkms.beside(
        *("encrypt", "in.jsonl", "-o", "out.jsonl", "--log-level", "debug"),
        *("--endpoint", kms.endpoint, "--key-id", kms.demo_key_id),
        environ=credentials(kms),
    )
    assert ended.code == 0
    _assert_nowhere(batchkms, ended.stdout, ended.stderr)
    assert kms.secret_key not in (batchkms.folder / "out.jsonl.run.json").read_text()


@pytest.mark.parametrize("name", ["secret-key", "secret_key", "token", "secret-id"])
def test_no_secret_is_an_option(batchkms: Program, name: str) -> None:
    ended = batchkms("encrypt", "in.jsonl", "-o", "out.jsonl", f"--{name}", KEY_CANARY)
    assert ended.code == 2
    assert KEY_CANARY not in ended.stderr


async def test_a_thousand_canaries(batchkms: Program) -> None:
    secrets = [f"canary-{number:04}-" + f"{number * 7919 % 99991:05}pw" for number in range(1000)]
    batchkms.write(
        "in.jsonl",
        "".join(
            json.dumps({"id": f"row-{n}", "plaintext": s}) + "\n" for n, s in enumerate(secrets)
        ),
    )
    command_lines: list[bytes] = []

    async def echo(request: web.Request) -> web.Response:
        if len(command_lines) < 3:
            command_lines.extend(path.read_bytes() for path in Path("/proc").glob("*/cmdline"))
        return await _echo(request)

    app = web.Application()
    app.router.add_post("/", echo)
    async with TestServer(app) as server:
        ended = await batchkms.beside(
            *("encrypt", "in.jsonl", "-o", "out.jsonl", "--key-field", "cmk", "--key-id", "k"),
            *("--endpoint", f"http://127.0.0.1:{server.port}", "--rate", "off"),
            *("--log-level", "debug", "--max-attempts", "2"),
            environ=_environ(),
        )
    assert ended.code == 3
    assert "the first 100 rows all failed" in ended.errors[0]
    left = [path for path in batchkms.folder.rglob("*") if path.is_file()]
    written = b"\n".join(path.read_bytes() for path in left if path.name != "in.jsonl")
    written += ended.stdout.encode() + ended.stderr.encode() + b"\n".join(command_lines)
    assert b"row-0" in written
    assert b"batchkms" in b"".join(command_lines)
    for secret in [*secrets, KEY_CANARY, TOKEN_CANARY]:
        for form in _all_forms(secret):
            assert form not in written, form


def _all_forms(secret: str) -> set[bytes]:
    encoded = secret.encode()
    forms = {encoded, encoded.hex().encode(), quote(secret, safe="").encode()}
    forms.add(json.dumps(secret)[1:-1].encode())
    for offset in range(3):
        # What stays the same of base64, whatever stands before and after.
        inside = base64.b64encode(b"\0" * offset + encoded)
        forms.add(inside[4 if offset else 0 : len(inside) - 4])
    return forms
