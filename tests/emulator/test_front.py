"""HTTP: sizes, methods, paths, what is written to logs, and how it starts and stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from pathlib import Path

import pytest

from batchkms.emulator import Emulator
from batchkms.errors import ConfigError
from tests.emulator.calling import Caller, Clock, b64, calling

MIB = 1024 * 1024


async def test_a_body_of_10_mib_is_read_and_one_byte_more_is_not(caller: Caller) -> None:
    body = b"{}" + b" " * (10 * MIB - 2)
    assert await caller.code("ListKeys", body=body) == "ok"
    code = await caller.code("ListKeys", body=body + b" ")
    assert code == "RequestSizeLimitExceeded"


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"]
)
async def test_only_json_is_taken(caller: Caller, content_type: str) -> None:
    code = await caller.code("ListKeys", headers={"Content-Type": content_type})
    assert code == "UnsupportedProtocol"


async def test_a_charset_in_the_request_is_fine_if_it_is_signed(caller: Caller) -> None:
    content_type = "application/json; charset=utf-8"
    signed = {"content-type": content_type, "host": caller.host}
    headers: dict[str, str | None] = {"Content-Type": content_type}
    assert await caller.code("ListKeys", signed=signed, headers=headers) == "ok"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_other_methods_are_refused_in_the_envelope(caller: Caller, method: str) -> None:
    url = caller.emulator.endpoint + "/?Action=ListKeys"
    async with caller.session.request(method, url) as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        response = (await answer.json())["Response"]
    assert response["Error"]["Code"] == "UnsupportedProtocol"
    assert response["RequestId"]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("Content-Type: application/json", "AuthFailure.SignatureFailure"),
        ("Credential=EMULATOR", "AuthFailure.SecretIdNotFound"),
        ("X-TC-Action: ListKeys", "InvalidAction"),
        ("X-TC-Region: ap-guangzhou", "InvalidParameterValue"),
    ],
)
async def test_bytes_that_are_no_utf8_in_a_header_are_just_wrong(
    caller: Caller, header: str, code: str
) -> None:
    headers = caller.headers("ListKeys", b"{}")
    if header.startswith("Content-Type"):
        header += ";"
        headers["Content-Type"] += ";"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST / HTTP/1.1\r\n{lines}Content-Length: 2\r\n\r\n".encode()
    damaged = head.replace(header.encode(), header.encode() + b"\xff\xfe")
    assert damaged != head
    host, _, port = caller.host.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(damaged + b"{}")
    answer = await reader.readuntil(b'"}}')
    writer.close()
    await writer.wait_closed()
    assert f'"Code":"{code}"'.encode() in answer


@pytest.mark.parametrize("path", ["/kms", "/_emulator", "/_emulator/nothing"])
async def test_there_is_nothing_elsewhere(caller: Caller, path: str) -> None:
    async with caller.session.get(caller.emulator.endpoint + path) as answer:
        assert answer.status == 404


async def test_no_secret_reaches_a_log_at_any_level(
    caller: Caller, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    canary = b64(b"canary-plaintext")
    await caller.code("Encrypt", {"KeyId": "x", "Plaintext": canary}, secret_key="another")
    await caller.code("Encrypt", {"KeyId": caller.emulator.demo_key_id, "Plaintext": canary})
    host, _, port = caller.host.partition(":")
    for garbage in (f"POST / HTTP/9.9\r\n{canary}\r\n\r\n", f"{canary}\r\n\r\n"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(garbage.encode())
        assert b"400" in await reader.readline()
        writer.close()
        await writer.wait_closed()
    written = caplog.text + "".join(capfd.readouterr())
    for secret in (canary, caller.emulator.secret_key, "Signature="):
        assert secret not in written


async def test_a_defect_is_an_internal_error_and_its_text_is_kept_out_of_logs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(action: str) -> str | None:
        raise RuntimeError("canary")

    clock = Clock()
    emulator = Emulator(data_dir=tmp_path, fail=broken, clock=clock)
    async with emulator, calling(emulator, clock) as caller:
        code = await caller.code("ListKeys")
    assert code == "InternalError"
    assert "RuntimeError in broken" in caplog.text
    assert "canary" not in caplog.text


async def test_stopping_closes_connections_and_frees_the_port(tmp_path: Path) -> None:
    async with Emulator(data_dir=tmp_path) as emulator:
        port = int(emulator.endpoint.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    async with Emulator(data_dir=tmp_path, port=port) as again:
        assert again.endpoint == f"http://127.0.0.1:{port}"


async def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} is in use") as caught:
            async with Emulator(data_dir=tmp_path, port=port):
                pass
    assert caught.value.hint is not None


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", "", "::"])  # noqa: S104 - it must be refused
def test_only_loopback_is_listened_on(host: str) -> None:
    with pytest.raises(ConfigError, match="loopback only"):
        Emulator(host=host)


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_is_none(port: int) -> None:
    with pytest.raises(ConfigError, match="no port"):
        Emulator(port=port)


def test_a_rate_limit_that_is_none() -> None:
    with pytest.raises(ConfigError, match="rate limit"):
        Emulator(rate_limit=0)


async def test_localhost_is_one_address(tmp_path: Path) -> None:
    async with Emulator(data_dir=tmp_path, host="localhost") as emulator:
        assert emulator.endpoint.startswith("http://127.0.0.1:")


async def test_the_secret_key_is_in_no_repr(caller: Caller) -> None:
    assert caller.emulator.secret_key not in repr(caller.emulator)
