"""A thousand canaries: whatever goes wrong, no secret is ever written anywhere.

Looked at are stdout and stderr at debug level, every file that is left (results, partial and
temporary ones, manifest, checksums) and the command lines of all processes.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from batchkms.emulator import Emulator
from tests.scenarios.canaries import (
    KEY,
    SECRETS,
    TOKEN,
    MeanService,
    assert_nowhere,
    canary,
    forms,
    found_in,
    needles,
)
from tests.scenarios.conftest import Program
from tests.scenarios.ended import credentials, larger, until_it

SHIM = Path(__file__).parent.parent / "faultfs"
DEBUG = ["--log-level", "debug", "--progress", "always"]
ROWS = 1_000
ALL = needles(canary(number) for number in range(ROWS))


@pytest.fixture
def batchkms(tmp_path: Path) -> Program:
    """The program with its own command line, which is looked at too."""
    return Program(tmp_path, alone=True)


@pytest.fixture
async def mean() -> AsyncIterator[tuple[MeanService, str]]:
    """The service and its endpoint."""
    service = MeanService()
    async with TestServer(service.app()) as server:
        yield service, f"http://127.0.0.1:{server.port}"


def _inventory(batchkms: Program, rows: int = ROWS) -> None:
    lines = [json.dumps({"id": f"row-{n}", "plaintext": canary(n)}) for n in range(rows)]
    batchkms.write("in.jsonl", "".join(f"{line}\n" for line in lines))


def _command(endpoint: str, *more: str, name: str = "in.jsonl") -> list[str]:
    # A key field, so that no answer about the key stops the run.
    keys = ["--key-id", "k", "--key-field", "cmk", "--endpoint", endpoint]
    quick = ["--rate", "off", "--max-attempts", "2", "--outage-budget", "1s"]
    return ["encrypt", name, "-o", "out.jsonl", *keys, *quick, *DEBUG, *more]


def _environ(batchkms: Program) -> dict[str, str]:
    """With a place for temporary files that is searched as well."""
    temporary = batchkms.folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return SECRETS | {"TMPDIR": str(temporary)}


def test_the_search_finds_every_form_of_every_secret() -> None:
    for secret in (KEY, TOKEN, *(canary(number) for number in range(ROWS))):
        for form in forms(secret):
            assert found_in(b"some text before " + form + b" and after", ALL), form
            assert found_in(form[5 : 5 + 12], ALL), form
    assert found_in(b'{"seq":1,"id":"row-1","status":"ok","key_id":"k"}' * 10, ALL) is None


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_a_service_that_repeats_all_it_is_given(
    batchkms: Program, mean: tuple[MeanService, str], log_format: str
) -> None:
    service, endpoint = mean
    _inventory(batchkms)
    environ = _environ(batchkms)
    ended = await batchkms.beside(*_command(endpoint, "--log-format", log_format), environ=environ)
    assert ended.code == 1, ended.stderr[-2000:]
    results = [json.loads(row) for row in (batchkms.folder / "out.jsonl").read_text().splitlines()]
    assert len(results) == ROWS
    assert {row.get("class") for row in results} >= {
        *(None, "invalid_request", "internal", "network", "protocol")
    }
    assert b"batchkms" in service.command_lines
    assert_nowhere(batchkms, ALL, ended.stdout, ended.stderr, service.command_lines)
    classes = "invalid_request,internal,network,protocol"
    again = await batchkms.beside(
        *("retry", "out.jsonl", "--class", classes, "--endpoint", endpoint, "--rate", "off"),
        *("--max-attempts", "1", *DEBUG, "--log-format", log_format),
        environ=environ,
    )
    assert again.code == 1, again.stderr[-2000:]
    output = batchkms.folder / "out.jsonl"
    output.write_bytes(output.read_bytes().replace(b'"row-7"', b'"row-8"'))
    batchkms.write("in.jsonl", (batchkms.folder / "in.jsonl").read_bytes()[:-9])
    audited = batchkms("audit", "out.jsonl", environ=environ)
    assert audited.code == 6, audited.stderr
    texts = [again.stdout, again.stderr, audited.stdout, audited.stderr]
    assert_nowhere(batchkms, ALL, *texts)


def _malformed(seq: int, format: str) -> bytes:
    """A row that cannot be sent, with a canary in it."""
    secret = canary(seq)
    quoted = json.dumps(secret, ensure_ascii=False)
    if format == "csv":
        cell = '"' + secret.replace('"', '""') + '"'
        plain = secret.replace('"', "")
        rows = [
            f"row-{seq},{cell},,,{cell}",
            f"row-{seq},{cell}",
            f'row-{seq},"a"{plain},,',
            f"row-{seq},{cell},{cell},",
            f'row-{seq},"{plain * 300}",,',
            f"row-{seq},{cell},,{cell * 9}",
        ]
    else:
        rows = [
            f'{{"id":"row-{seq}","plaintext":{quoted}',
            f'{{"id":"row-{seq}","plaintext":[{quoted}]}}',
            f'{{"id":"row-{seq}","plaintext":{quoted},"encryption_context":[{quoted}]}}',
            f'{{"id":"row-{seq}","plaintext":{quoted},"encryption_context":{quoted}}}',
            f'{{"id":"row-{seq}","plaintext":"","encryption_context":{{"a":[{quoted}]}}}}',
            f'{{"id":{{"a":{quoted}}},"plaintext":{quoted}}}',
            f'{{"id":"row-{seq}","plaintext":{json.dumps(secret * 300)}}}',
            f'{{"id":"row-{seq}","plaintext":{quoted},"cmk":{json.dumps(secret * 9)}}}',
            f'{{"seq":{quoted},"id":"a","status":"ok","plaintext":{quoted}}}',
            f"[{quoted}]",
            quoted,
            f'{{"id":"row-{seq}","plaintext":{quoted}}}{quoted}',
        ]
    row = rows[seq % len(rows)].encode()
    return row.replace("é".encode(), b"\xe9") if seq % 7 == 0 else row


@pytest.mark.parametrize("format", ["jsonl", "csv"])
async def test_malformed_rows(
    batchkms: Program, mean: tuple[MeanService, str], format: str
) -> None:
    _, endpoint = mean
    header = [b"id,plaintext,encryption_context,cmk"] * (format == "csv")
    # One that the service takes.
    good = b"row-0,p,," if format == "csv" else b'{"id":"row-0","plaintext":"p"}'
    rows = [row for seq in range(ROWS) for row in (_malformed(seq, format), good)]
    batchkms.write(f"in.{format}", b"".join(row + b"\n" for row in [*header, *rows]))
    ended = await batchkms.beside(
        *_command(endpoint, name=f"in.{format}"), environ=_environ(batchkms)
    )
    assert ended.code == 1, ended.stderr[-2000:]
    assert b"invalid_record" in (batchkms.folder / "out.jsonl").read_bytes()
    assert_nowhere(batchkms, ALL, ended.stdout, ended.stderr)


_UNUSABLE = {
    "in.csv": [
        # No header: the first line is a secret.
        f"row-1,{canary(1)}\nrow-2,{canary(2)}\n".encode(),
        f'id,plaintext\nrow-1,x\nrow-2,"{canary(1)}\n{canary(2)}\n'.encode(),
        f'id,plaintext\nrow-1,x\nrow-2,"a\nb"{canary(2)}\n'.encode(),
        f"id;plaintext\nrow-1;{canary(1)}\n".encode(),
        f"id,plaintext\n1,{canary(1)}".encode("utf-16"),
    ],
    "in.jsonl": [
        json.dumps([{"plaintext": canary(1)}]).encode(),
        b"\x1f\x8b" + canary(1).encode(),
        f'{{"plaintext":"{canary(3)}'.encode("utf-32"),
    ],
}


@pytest.mark.parametrize(
    ("name", "content"),
    [(name, content) for name, contents in _UNUSABLE.items() for content in contents],
)
async def test_inputs_that_cannot_be_used(
    batchkms: Program, mean: tuple[MeanService, str], name: str, content: bytes
) -> None:
    batchkms.write(name, content)
    ended = await batchkms.beside(*_command(mean[1], name=name), environ=_environ(batchkms))
    assert ended.code in (1, 2, 3), ended.stderr
    assert_nowhere(batchkms, ALL, ended.stdout, ended.stderr)


@pytest.mark.parametrize("signals", [["KILL"], ["TERM"], ["INT", "INT"]], ids="-".join)
async def test_runs_that_are_ended_from_outside(
    batchkms: Program, mean: tuple[MeanService, str], signals: list[str]
) -> None:
    _, endpoint = mean
    _inventory(batchkms)
    process = await asyncio.create_subprocess_exec(
        *batchkms.command(*_command(endpoint, "--rate", "400", "--fsync-interval", "100ms")),
        cwd=batchkms.folder,
        env=batchkms.environ(_environ(batchkms)),
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    partial = batchkms.folder / "out.jsonl.partial"
    await until_it(process, larger(partial, 20_000))
    for name in signals:
        process.send_signal(signal.Signals[f"SIG{name}"])
    stdout, stderr = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode in (-signal.SIGKILL, 130)
    assert partial.exists()
    assert_nowhere(batchkms, ALL, stdout, stderr)
    ended = await batchkms.beside(*_command(endpoint, "--resume"), environ=_environ(batchkms))
    assert ended.code == 1, ended.stderr[-2000:]
    assert_nowhere(batchkms, ALL, ended.stdout, ended.stderr)


@pytest.mark.parametrize(
    "fault",
    [
        *("write:1:ENOSPC", "write:4:short", "fsync:3:EIO"),
        *("replace:1:EIO", "replace:3:ENOSPC", "replace:3:KILL", "write+fsync:5:KILL"),
    ],
)
async def test_a_file_system_that_fails(
    batchkms: Program, mean: tuple[MeanService, str], fault: str
) -> None:
    _inventory(batchkms, 200)
    fired = batchkms.folder / "fired"
    shim = {"PYTHONPATH": f"{SHIM}:{batchkms.environ().get('PYTHONPATH', '')}"}
    shim |= {"FAULTFS": fault, "FAULTFS_FIRED": str(fired)}
    ended = await batchkms.beside(
        *_command(mean[1], "--fsync-interval", "100ms"), environ=_environ(batchkms) | shim
    )
    assert fired.exists()
    assert_nowhere(batchkms, ALL, ended.stdout, ended.stderr)


async def _redirect(request: web.Request) -> web.Response:
    location = f"http://127.0.0.1/?{(await request.json())['Plaintext']}"
    return web.Response(status=302, headers={"Location": location})


async def _as_ciphertext(request: web.Request) -> web.Response:
    body = await request.json()
    answer = {"CiphertextBlob": body["Plaintext"], "KeyId": "k", "RequestId": "r-1"}
    return web.json_response({"Response": answer})


async def _as_request_id(request: web.Request) -> web.Response:
    error = {"Code": "FailedOperation", "Message": "no"}
    request_id = request.headers["X-TC-Token"]
    return web.json_response({"Response": {"Error": error, "RequestId": request_id}})


async def _refused_token(request: web.Request) -> web.Response:
    message = f"the token {request.headers['X-TC-Token']} is none"
    error = {"Code": "AuthFailure.TokenFailure", "Message": message}
    return web.json_response({"Response": {"Error": error, "RequestId": "r-1"}})


@pytest.mark.parametrize("handler", [_redirect, _as_ciphertext, _as_request_id, _refused_token])
async def test_answers_that_stop_the_run(batchkms: Program, handler: object) -> None:
    _inventory(batchkms, 300)
    app = web.Application()
    app.router.add_post("/", handler)  # type: ignore[arg-type]  # each handler in turn
    async with TestServer(app) as server:
        ended = await batchkms.beside(
            *_command(f"http://127.0.0.1:{server.port}"), environ=_environ(batchkms)
        )
    assert ended.code == 3, ended.stderr
    assert_nowhere(batchkms, ALL, ended.stdout, ended.stderr)


@pytest.mark.parametrize("how", ["refused", "silent", "no TLS"])
async def test_a_network_that_fails(
    batchkms: Program, mean: tuple[MeanService, str], silent: str, how: str
) -> None:
    endpoints = {
        "refused": "http://127.0.0.1:1",
        "silent": silent,
        "no TLS": mean[1].replace("http:", "https:"),
    }
    _inventory(batchkms)
    ended = await batchkms.beside(
        *_command(endpoints[how], "--timeout", "300ms"), environ=_environ(batchkms)
    )
    assert ended.code == 3, ended.stderr
    assert_nowhere(batchkms, ALL, ended.stdout, ended.stderr)


DEFECT = """
import sys
from batchkms.cli.main import main
from batchkms.{module} import {name}

def defect(self, *given, **more):
    raise ValueError(f"{{given!r}} {{more!r}} {{self._credentials!r}}")

{name}.{method} = defect
main(sys.argv[1:])
"""


@pytest.mark.parametrize("method", ["encrypt", "call", "_answered"])
async def test_a_defect_of_our_own(
    batchkms: Program, mean: tuple[MeanService, str], method: str
) -> None:
    """An exception whose text holds all that was at hand when it was raised."""
    _inventory(batchkms)
    program = DEFECT.format(module="kms.client", name="KmsClient", method=method)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, *_command(mean[1])),
        cwd=batchkms.folder,
        env=batchkms.environ(_environ(batchkms)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 3, stderr
    assert b"internal error: ValueError" in stderr
    assert_nowhere(batchkms, ALL, stdout, stderr)


@pytest.mark.parametrize(
    "content",
    [
        f"[default]\ntencentcloud_secret_id = EXAMPLE\n{KEY}\n",
        f"{KEY}\n{TOKEN}\n",
        f'{{"secretId": "EXAMPLE", "secretKey": "{KEY}"',
        f'{{"secretId": "EXAMPLE", "secretKey": ["{KEY}"], "token": {{"a": "{TOKEN}"}}}}',
    ],
)
async def test_credentials_that_cannot_be_read(
    batchkms: Program, mean: tuple[MeanService, str], content: str
) -> None:
    _inventory(batchkms, 3)
    batchkms.write("in.credentials", content)
    command = _command(mean[1], "--credentials", "in.credentials")
    ended = await batchkms.beside(*command, environ={})
    assert ended.code == 2, ended.stderr
    assert_nowhere(batchkms, ALL, ended.stdout, ended.stderr)


async def test_when_all_goes_well(batchkms: Program, kms: Emulator) -> None:
    _inventory(batchkms)
    ended = await batchkms.beside(
        *("encrypt", "in.jsonl", "-o", "out.jsonl", "--rate", "off", *DEBUG),
        *("--endpoint", kms.endpoint, "--key-id", kms.demo_key_id),
        environ=credentials(kms),
    )
    assert ended.code == 0
    assert_nowhere(batchkms, ALL, ended.stdout, ended.stderr)
    assert kms.secret_key not in (batchkms.folder / "out.jsonl.run.json").read_text()


@pytest.mark.parametrize("name", ["secret-key", "secret_key", "token", "secret-id"])
def test_no_secret_is_an_option(batchkms: Program, name: str) -> None:
    ended = batchkms("encrypt", "in.jsonl", "-o", "out.jsonl", f"--{name}", KEY)
    assert ended.code == 2
    assert KEY not in ended.stderr
