"""Which connection carries what, how long it is kept, and what an exchange says of itself."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest

from batchkms.kms import transport as shared
from batchkms.kms.http1.pool import Connected, Pool
from batchkms.kms.http1.requests import request_bytes
from tests.kms.http1.pools import SECRET, Call, Exchange, code_of, pool_to, until
from tests.kms.servers import Peer, Seen, answering, http, listening, read_request

ANSWER = http(b"{}")


def holding(gate: asyncio.Event, seen: Seen) -> Peer:
    """Answers nothing until the gate is opened."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        while True:
            await read_request(reader, seen)
            await gate.wait()
            writer.write(ANSWER)
            await writer.drain()

    return peer


async def test_what_an_exchange_tells() -> None:
    async with answering(ANSWER) as (port, seen), pool_to(port) as pool:
        began_s = time.monotonic()
        first, second = await Call(pool), await Call(pool)
    request = request_bytes({"Host": "kms"}, SECRET)
    assert seen.bodies == [SECRET, SECRET]
    for exchange in (first, second):
        assert exchange.answer == shared.Answer(200, b"{}")
        assert exchange.sent_s is not None
        assert began_s <= exchange.begun_s <= exchange.sent_s <= exchange.done_s
        assert exchange.sent_bytes == len(request)
        assert exchange.received_bytes == len(ANSWER)
    assert (first.reused, second.reused) == (False, True)


async def test_times_are_finer_than_those_of_the_loop() -> None:
    # uvloop's own are whole milliseconds, as they were when it last woke up.
    async with answering(ANSWER) as (port, _), pool_to(port) as pool:
        made = [await Call(pool) for _ in range(20)]
    assert len({exchange.done_s for exchange in made}) == 20
    assert any(abs(each.done_s * 1000 - round(each.done_s * 1000)) > 0.001 for each in made)


async def test_the_request_is_made_when_a_connection_is_ready() -> None:
    events: list[str] = []

    def request() -> bytes:
        events.append("request")
        return request_bytes({}, b"")

    ended = asyncio.Event()

    def on_done(exchange: Exchange) -> bool:
        ended.set()
        return True

    def on_connected(connected: Connected) -> None:
        events.append("connected")
        assert 0 < connected.connect_s < 5
        assert connected.tls_s is None

    async with answering(ANSWER) as (port, _), pool_to(port, on_connected=on_connected) as pool:
        pool.start(Exchange(request, on_done))
        assert events == []
        await ended.wait()
        assert events == ["connected", "request"]
        pool.start(Exchange(request, on_done))
        assert events == ["connected", "request", "request"]


async def test_the_connection_used_last_comes_first() -> None:
    gate, seen = asyncio.Event(), Seen()
    async with listening(holding(gate, seen)) as port, pool_to(port) as pool:
        calls = [Call(pool) for _ in range(3)]
        connections = [call.exchange.connection for call in calls]
        assert pool.busy == 3
        await until(lambda: len(seen.heads) == 3)
        gate.set()
        ended = sorted([await call for call in calls], key=lambda each: each.done_s)
        last = connections[[call.exchange for call in calls].index(ended[-1])]
        for _ in range(3):
            again = Call(pool)
            assert again.exchange.connection is last
            assert (await again).reused
        assert (pool.busy, pool.open_connections, seen.connections) == (0, 3, 3)


async def test_a_connection_that_is_closing_carries_nothing_more() -> None:
    async with answering(ANSWER) as (port, seen), pool_to(port) as pool:
        first = Call(pool)
        connection = first.exchange.connection
        assert connection is not None
        await first
        # Its end is told in the next turn of the loop.
        connection.abort()
        second = Call(pool)
        assert second.exchange.connection is not connection
        assert not (await second).reused
        assert (seen.connections, pool.open_connections) == (2, 1)


async def test_no_more_connections_than_allowed() -> None:
    gate, seen, told = asyncio.Event(), Seen(), 0
    async with listening(holding(gate, seen)) as port, pool_to(port, max_connections=2) as pool:

        def on_room() -> None:
            nonlocal told
            told += 1
            assert pool.room

        pool.on_room = on_room
        assert pool.room == 2
        first = Call(pool)
        assert pool.room == 1
        second = Call(pool)
        assert not pool.room
        with pytest.raises(RuntimeError, match="no room"):
            Call(pool)
        await until(lambda: pool.open_connections == 2)
        assert (pool.room, pool.busy, told) == (0, 2, 0)
        gate.set()
        await first
        await second
        assert (pool.room, told) == (2, 2)
        await Call(pool)
        assert seen.connections == 2


async def test_room_comes_back_after_a_failure() -> None:
    async with answering(b"", close=True) as (port, _), pool_to(port, max_connections=1) as pool:
        for _ in range(3):
            assert code_of(await Call(pool)) == "ConnectionReset"
            assert pool.room


async def test_an_exchange_can_be_started_from_both_callbacks() -> None:
    async with answering(ANSWER) as (port, seen), pool_to(port, max_connections=2) as pool:
        begun, over = 0, asyncio.Event()

        def start() -> None:
            nonlocal begun
            begun += 1
            pool.start(Exchange(lambda: request_bytes({}, b""), on_done))

        def on_done(exchange: Exchange) -> bool:
            # Its own connection is not free yet.
            if begun == 1:
                start()
            if begun == 50 and pool.busy == 0:
                over.set()
            return True

        def on_room() -> None:
            if begun < 50:
                start()

        pool.on_room = on_room
        start()
        async with asyncio.timeout(5):
            await over.wait()
        assert len(seen.heads) == 50
        assert seen.connections <= 2


async def test_a_connection_that_is_not_to_be_used_again() -> None:
    async with answering(ANSWER) as (port, seen), pool_to(port) as pool:
        await Call(pool, keep=False)
        await until(lambda: pool.open_connections == 0)
        assert not (await Call(pool)).reused
    assert seen.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        http(b"{}", more="Connection: close\r\n"),
        ANSWER.replace(b"1.1", b"1.0"),
        ANSWER + b"\r\n",
        ANSWER + ANSWER,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n\n",
    ],
)
async def test_an_answer_that_uses_the_connection_up(answer: bytes) -> None:
    async with answering(answer) as (port, seen), pool_to(port) as pool:
        for _ in range(3):
            exchange = await Call(pool)
            assert exchange.answer == shared.Answer(200, b"{}")
            assert not exchange.reused
    assert seen.connections == 3


async def test_an_answer_that_ends_with_the_connection() -> None:
    endless = b"HTTP/1.1 200 OK\r\n\r\n{}"
    async with answering(endless, close=True) as (port, _), pool_to(port) as pool:
        assert (await Call(pool)).answer == shared.Answer(200, b"{}")


# -- Idle connections ------------------------------------------------------------------------------


async def test_a_connection_closed_while_idle_is_dropped_without_a_word() -> None:
    async with answering(ANSWER, close=True) as (port, seen), pool_to(port) as pool:
        for _ in range(3):
            assert (await Call(pool)).answer is not None
            await until(lambda: pool.open_connections == 0)
    assert seen.connections == 3


async def test_a_byte_on_an_idle_connection_closes_it() -> None:
    writers: list[asyncio.StreamWriter] = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while True:
            await read_request(reader, Seen())
            writer.write(ANSWER)

    async with listening(peer) as port, pool_to(port) as pool:
        await Call(pool)
        writers[0].write(ANSWER[:1])
        await until(lambda: pool.open_connections == 0)
        assert not (await Call(pool)).reused


async def test_unused_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "IDLE_CONNECTION_S", 0.05)
    gate, seen = asyncio.Event(), Seen()
    async with listening(holding(gate, seen)) as port, pool_to(port) as pool:
        calls = [Call(pool) for _ in range(4)]
        gate.set()
        for call in calls:
            await call
        assert pool.open_connections == 4
        until_s = time.monotonic() + 0.12
        while time.monotonic() < until_s:
            # One goes on being used: it alone is kept.
            assert (await Call(pool)).reused
            await asyncio.sleep(0.005)
        assert pool.open_connections == 1
        await until(lambda: pool.open_connections == 0)


# -- Time ------------------------------------------------------------------------------------------


async def test_each_exchange_has_its_whole_time() -> None:
    never = holding(asyncio.Event(), Seen())
    async with listening(never) as port, pool_to(port, timeout_s=0.1) as pool:
        calls = []
        for _ in range(4):
            calls.append(Call(pool))
            await asyncio.sleep(0.02)
        for call in calls:
            exchange = await call
            assert code_of(exchange) == "AttemptTimeout"
            assert 0.099 <= exchange.done_s - exchange.begun_s < 0.2
        await until(lambda: pool.open_connections == 0)
        assert (pool.busy, pool.room) == (0, sys.maxsize)


async def test_a_slow_exchange_does_not_hide_one_that_is_over() -> None:
    # The oldest ends first, so that what is watched next was begun later.
    gate, seen = asyncio.Event(), Seen()
    async with listening(holding(gate, seen)) as port, pool_to(port, timeout_s=0.1) as pool:
        first = Call(pool)
        await until(lambda: len(seen.heads) == 1)
        gate.set()
        await first
        gate.clear()
        await asyncio.sleep(0.05)
        exchange = await Call(pool)
        assert code_of(exchange) == "AttemptTimeout"
        assert 0.099 <= exchange.done_s - exchange.begun_s < 0.2


# -- Large requests --------------------------------------------------------------------------------


async def test_a_large_request_arrives_whole() -> None:
    body = bytes(range(256)) * 4096
    async with answering(ANSWER) as (port, seen), pool_to(port) as pool:
        for reused in (False, True):
            exchange = await Call(pool, body)
            assert (exchange.answer is not None, exchange.reused) == (True, reused)
            assert exchange.sent_bytes > len(body)
    assert seen.bodies == [body, body]


async def test_an_answer_before_the_request_was_sent_uses_the_connection_up() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http(b"", status="413 Too Large"))
        await writer.drain()
        await asyncio.sleep(5)

    async with listening(peer) as port, pool_to(port) as pool:
        exchange = await Call(pool, b"x" * 16_000_000)
        assert exchange.answer == shared.Answer(413, b"")
        assert not (await Call(pool)).reused


# -- The end ---------------------------------------------------------------------------------------


async def test_closing_ends_what_is_under_way() -> None:
    gate, seen = asyncio.Event(), Seen()
    async with listening(holding(gate, seen)) as port, pool_to(port) as pool:
        under_way = Call(pool)
        await until(lambda: len(seen.heads) == 1)
        connecting = Call(pool)
        room = 0

        def on_room() -> None:
            nonlocal room
            room += 1

        pool.on_room = on_room
        await pool.aclose()
        assert code_of(await under_way) == code_of(await connecting) == "ConnectionReset"
        assert connecting.exchange.sent_s is None
        assert room == 0
        with pytest.raises(RuntimeError):
            Call(pool)


async def test_an_exchange_that_is_given_up() -> None:
    async with listening(holding(asyncio.Event(), Seen())) as port, pool_to(port) as pool:
        for connected in (True, False):
            call = Call(pool)
            if connected:
                await until(lambda: pool.open_connections == 1)
            pool.drop(call.exchange)
            assert code_of(await call) == "ConnectionReset"
            pool.drop(call.exchange)
            assert call.ends == 1
        await until(lambda: pool.open_connections == 0)


# -- Defects of whoever uses it ------------------------------------------------------------------


async def defects_of(pool: Pool) -> list[object]:
    found: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: found.append(context["exception"])
    )
    return found


@pytest.mark.parametrize("reused", [False, True])
async def test_a_request_that_cannot_be_made(reused: bool) -> None:
    async with answering(ANSWER) as (port, seen), pool_to(port, max_connections=1) as pool:
        if reused:
            await Call(pool)
        found = await defects_of(pool)
        call = Call(pool, start=False)
        defect = ZeroDivisionError("ours")

        def request() -> bytes:
            raise defect

        call.exchange.request = request
        pool.start(call.exchange)
        assert call.ends == 0
        exchange = await call
        assert code_of(exchange) == "ConnectionReset"
        assert (exchange.sent_s, exchange.sent_bytes) == (None, 0)
        assert found == [defect]
        assert (await Call(pool)).answer is not None
        assert seen.connections == 2


async def test_what_a_server_says_is_no_answer_to_a_request_that_was_not_made() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ANSWER)
        await reader.read()

    async with listening(peer) as port, pool_to(port) as pool:
        await defects_of(pool)
        call = Call(pool, start=False)

        def request() -> bytes:
            time.sleep(0.02)  # The answer is there before the loop gets on.
            raise ZeroDivisionError

        call.exchange.request = request
        pool.start(call.exchange)
        exchange = await call
        assert (code_of(exchange), exchange.answer) == ("ConnectionReset", None)
        assert exchange.received_bytes == 0


@pytest.mark.parametrize("where", ["on_done", "on_room", "on_connected"])
async def test_a_callback_that_fails(where: str) -> None:
    def broken(*arguments: object) -> bool:
        raise ZeroDivisionError

    told = broken if where == "on_connected" else None
    async with (
        answering(ANSWER) as (port, _),
        pool_to(port, max_connections=1, on_connected=told) as pool,
    ):
        found = await defects_of(pool)
        if where == "on_room":
            pool.on_room = broken  # type: ignore[assignment]  # it never returns
        call = Call(pool, start=False)
        done = call.exchange.on_done

        def on_done(exchange: Exchange) -> bool:
            return done(exchange) and (where != "on_done" or broken())

        call.exchange.on_done = on_done
        pool.start(call.exchange)
        assert (await call).answer is not None
        await until(lambda: len(found) == 1)
        assert isinstance(found[0], ZeroDivisionError)
        pool.on_room = None
        # Only what could not say whether the connection may be used again closes it.
        assert (await Call(pool)).reused == (where != "on_done")
