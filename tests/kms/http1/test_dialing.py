"""How connections come to be: addresses, names, TLS, and the time that each step took."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from batchkms.kms.endpoint import Endpoint
from batchkms.kms.http1.pool import Connected, Pool
from tests.kms.http1.pools import Call, Exchange, code_of, pool_to, until
from tests.kms.servers import Seen, answering, http, listening, read_request

ANSWER = http(b"{}")


class Names:
    """Names that resolve to addresses on loopback, in this order, and who asked for them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **names: list[str]) -> None:
        self.asked: list[str] = []
        self._names = names
        loop = asyncio.get_running_loop()
        self._real = loop.getaddrinfo
        monkeypatch.setattr(loop, "getaddrinfo", self._look_up, raising=False)

    async def _look_up(self, host: str, port: int, **options: Any) -> list[tuple[Any, ...]]:
        if host[0].isdigit():
            # uvloop's sock_connect asks for addresses, too.
            return await self._real(host, port, **options)
        self.asked.append(host)
        await asyncio.sleep(0.01)
        addresses = self._names.get(host.partition(".")[0])
        if addresses is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such host")
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, (address, port)) for address in addresses]


async def ended(pool: Pool) -> Exchange:
    """One exchange, and the end of the pool."""
    try:
        exchange: Exchange = await Call(pool)
    finally:
        await pool.aclose()
    return exchange


async def test_ipv6() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with answering(ANSWER, host="::1") as (port, _):
        assert (await ended(Pool(Endpoint("http", f"[::1]:{port}")))).answer is not None


async def test_every_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch, kms=["127.0.0.9", "127.0.0.8", "127.0.0.1"], gone=["127.0.0.9"] * 2)
    async with answering(ANSWER) as (port, seen):
        assert (await ended(Pool(Endpoint("http", f"kms:{port}")))).answer is not None
        gone = await ended(Pool(Endpoint("http", f"gone.example:{port}")))
    assert code_of(gone) == "ConnectionRefused"
    assert gone.error is not None
    assert f"gone.example port {port}" in gone.error.message
    assert seen.connections == 1


async def test_an_address_that_swallows_everything_does_not_hide_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Names(monkeypatch, kms=["127.0.0.9", "127.0.0.1"])
    async with answering(ANSWER) as (port, _):
        with ExitStack() as stack:
            # A listener whose queue is full answers no further handshake.
            full = stack.enter_context(socket.socket())
            full.bind(("127.0.0.9", port))
            full.listen(0)
            for _ in range(2):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(full.getsockname())
            pool = Pool(Endpoint("http", f"kms:{port}"), connect_timeout_s=0.2)
            exchange = await ended(pool)
    assert exchange.answer is not None
    assert 0.09 <= exchange.done_s - exchange.begun_s < 0.2


async def test_one_look_up_serves_all_who_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch, kms=["127.0.0.1"])
    async with answering(ANSWER) as (port, seen):
        pool = Pool(Endpoint("http", f"kms:{port}"))
        given_up, *calls = [Call(pool) for _ in range(20)]
        await until(lambda: len(names.asked) == 1)
        pool.drop(given_up.exchange)
        for call in calls:
            assert (await call).answer is not None
        calls = [Call(pool) for _ in range(40)]
        for call in calls:
            assert (await call).answer is not None
        await pool.aclose()
    assert names.asked == ["kms"]
    assert seen.connections == 40


async def test_a_failed_look_up_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch)
    pool = Pool(Endpoint("http", "nowhere.example:80"))
    for _ in range(2):
        exchange = await Call(pool)
        assert (code_of(exchange), exchange.sent_s) == ("DnsFailure", None)
    await pool.aclose()
    assert names.asked == ["nowhere.example"] * 2


@pytest.mark.parametrize("how", ["drop", "aclose", "timeout"])
async def test_nobody_waits_for_a_look_up_that_hangs(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*arguments: Any, **options: Any) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", hang, raising=False)
    pool = Pool(Endpoint("http", "kms.example"), connect_timeout_s=0.02 if how == "timeout" else 3)
    call = Call(pool)
    await asyncio.sleep(0)
    if how == "drop":
        pool.drop(call.exchange)
    if how == "aclose":
        await pool.aclose()
    assert code_of(await call) == ("ConnectTimeout" if how == "timeout" else "ConnectionReset")
    await pool.aclose()


async def test_an_exchange_given_up_in_the_moment_when_its_connection_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    create_connection = loop.create_connection

    def made(*arguments: Any, **options: Any) -> Any:
        # Just before the loop tells the connection that it is there.
        loop.call_soon(pool.drop, call.exchange)
        return create_connection(*arguments, **options)

    monkeypatch.setattr(loop, "create_connection", made, raising=False)
    async with answering(ANSWER) as (port, _):
        pool = Pool(Endpoint("http", f"127.0.0.1:{port}"))
        call = Call(pool)
        assert code_of(await call) == "ConnectionReset"
        began_s = time.monotonic()
        await pool.aclose()
        assert pool.open_connections == 0
        assert time.monotonic() - began_s < 0.5


# -- TLS -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def ca_file(authority: trustme.CA, folder: Path) -> str:
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return str(folder / "ca.pem")


async def test_tls_says_whom_it_wants_and_how_long_it_took(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(monkeypatch, kms=["127.0.0.1"])
    wanted: list[str | None] = []
    context = server_context(authority, "kms.example")
    context.sni_callback = lambda sock, name, context: wanted.append(name)
    made: list[Connected] = []
    async with answering(ANSWER, tls=context) as (port, _):
        pool = Pool(
            # A certificate has no dot of the root at its end.
            Endpoint("https", f"kms.example.:{port}"),
            ca_file=ca_file(authority, tmp_path),
            on_connected=made.append,
        )
        for reused in (False, True):
            exchange = await Call(pool)
            assert exchange.answer is not None
            assert exchange.reused == reused
        await pool.aclose()
    assert wanted == names.asked == ["kms.example"]
    assert len(made) == 1
    assert made[0].connect_s > 0.009, "the look-up is in it"
    assert made[0].tls_s is not None
    assert 0 < made[0].tls_s < 5


async def test_a_large_request_over_tls(authority: trustme.CA, tmp_path: Path) -> None:
    body = bytes(range(256)) * 4096
    context = server_context(authority, "127.0.0.1")
    async with answering(ANSWER, tls=context) as (port, seen):
        file = ca_file(authority, tmp_path)
        async with pool_to(port, scheme="https", ca_file=file) as pool:
            for reused in (False, True):
                exchange = await Call(pool, body)
                assert (exchange.answer is not None, exchange.reused) == (True, reused)
    assert seen.bodies == [body, body]


async def test_a_handshake_that_hangs_is_cut_by_the_connect_timeout() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    made: list[Connected] = []
    async with (
        listening(peer) as port,
        pool_to(port, scheme="https", connect_timeout_s=0.05, on_connected=made.append) as pool,
    ):
        exchange = await Call(pool)
        assert (code_of(exchange), exchange.sent_s) == ("ConnectTimeout", None)
    assert made == []


@pytest.mark.parametrize("when", ["handshake", "request", "idle"])
async def test_tls_that_is_cut_off(when: str, authority: trustme.CA, tmp_path: Path) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader, Seen())
        if when == "idle":
            writer.write(ANSWER)
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.transport.abort()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    context = server_context(authority, "127.0.0.1")
    server = listening(hang_up) if when == "handshake" else listening(peer, tls=context)
    file = ca_file(authority, tmp_path)
    async with server as port, pool_to(port, scheme="https", ca_file=file) as pool:
        exchange = await Call(pool)
        expected = {"handshake": "ConnectFailed", "request": "ConnectionReset", "idle": ""}
        assert code_of(exchange) == expected[when]
        await until(lambda: pool.open_connections == 0)
        assert pool.room


async def test_a_server_that_says_no_goodbye_does_not_hold_up_the_end(
    authority: trustme.CA, tmp_path: Path
) -> None:
    # The server's side of TLS is by hand, and deaf after its answer.
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = server_context(authority, "127.0.0.1").wrap_bio(incoming, outgoing, server_side=True)

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shaken = answered = False
        while not answered:
            incoming.write(await reader.read(65_536))
            try:
                if not shaken:
                    tls.do_handshake()
                    shaken = True
                tls.read(65_536)
                tls.write(ANSWER)
                answered = True
            except ssl.SSLWantReadError:
                pass
            writer.write(outgoing.read())
        await asyncio.sleep(60)

    loop = asyncio.get_running_loop()
    file = ca_file(authority, tmp_path)
    async with listening(peer) as port:
        async with pool_to(port, scheme="https", ca_file=file) as pool:
            assert (await Call(pool)).answer is not None
            began_s = loop.time()
        assert loop.time() - began_s < 2.5
