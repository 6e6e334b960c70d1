"""The second transport where it has something of its own: cancelling, headers, silence."""

from __future__ import annotations

import asyncio
import traceback

import pytest

from batchkms.errors import ConfigError, NetworkError, ProtocolError, ServiceError
from batchkms.kms.endpoint import parse_endpoint
from batchkms.kms.http1.transport import WireTransport
from batchkms.kms.transport import Answer
from tests.kms.http1.pools import SECRET, until
from tests.kms.servers import Seen, answering, as_it_is, http, listening, read_request


def transport_to(port: int) -> WireTransport:
    return WireTransport(parse_endpoint(f"http://127.0.0.1:{port}"))


async def test_the_host_is_sent_once() -> None:
    async with answering(http(b"")) as (port, seen):
        transport = transport_to(port)
        await transport.post({}, b"", as_it_is)
        await transport.post({"host": "kms.example"}, b"", as_it_is)
        await transport.aclose()
    assert seen.header("Host", 0) == [f"127.0.0.1:{port}"]
    assert seen.header("Host", 1) == ["kms.example"]


async def test_cancelling_closes_the_connection() -> None:
    seen, gone = Seen(), asyncio.Event()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        await read_request(reader, seen)
        if seen.connections == 1:
            await reader.read()
            gone.set()
        else:
            writer.write(http(b"{}"))

    async with listening(peer) as port:
        transport = transport_to(port)
        call = asyncio.create_task(transport.post({}, SECRET, as_it_is))
        await until(lambda: len(seen.heads) == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        async with asyncio.timeout(5):
            await gone.wait()
        assert (await transport.post({}, b"", as_it_is)).body == b"{}"
        await transport.aclose()
    assert seen.connections == 2


async def test_cancelling_while_it_connects_leaves_nothing() -> None:
    async with answering(http(b"")) as (port, seen):
        transport = transport_to(port)
        for turns in range(8):
            call = asyncio.create_task(transport.post({}, SECRET, as_it_is))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        await transport.aclose()


async def test_cancelling_in_the_moment_of_an_error_loses_it_in_silence() -> None:
    async with answering(b"no HTTP\r\n\r\n") as (port, _):
        transport = transport_to(port)
        failed = asyncio.Event()
        call = asyncio.create_task(transport.post({}, SECRET, as_it_is))

        def on_room() -> None:
            # The error is there, and the task has not taken it yet.
            call.cancel()
            failed.set()

        transport._pool.on_room = on_room
        await failed.wait()
        with pytest.raises(asyncio.CancelledError):
            await call
        await transport.aclose()


@pytest.mark.parametrize(
    ("error", "connections"),
    [
        (ProtocolError("NotJson", "the answer is no JSON"), 2),
        (ServiceError("InternalError", "…"), 1),
        (ZeroDivisionError(), 1),
    ],
)
async def test_who_does_not_accept_an_answer(error: Exception, connections: int) -> None:
    def refuse(answer: Answer) -> None:
        raise error

    async with answering(http(b"{}")) as (port, seen):
        transport = transport_to(port)
        with pytest.raises(type(error)) as caught:
            await transport.post({}, b"", refuse)
        assert caught.value is error
        await transport.post({}, b"", as_it_is)
        await transport.aclose()
    assert seen.connections == connections


async def test_a_header_that_cannot_be_sent_is_not_shown() -> None:
    async with answering(http(b"{}")) as (port, seen):
        transport = transport_to(port)
        headers = {"X-TC-Token": "the-token\n"}
        with pytest.raises(ConfigError) as caught:
            await transport.post(headers, SECRET, as_it_is)
        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
        assert "the-token" not in shown
        assert (await transport.post({}, b"", as_it_is)).body == b"{}"
        await transport.aclose()
    assert len(seen.heads) == 1


async def test_closing_ends_a_call_with_an_error() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(peer) as port:
        transport = transport_to(port)
        call = asyncio.create_task(transport.post({}, SECRET, as_it_is))
        await asyncio.sleep(0.01)
        await transport.aclose()
        with pytest.raises(Exception, match="ConnectionReset"):
            await call
        # Once more does no harm.
        await transport.aclose()


async def test_calls_of_one_turn_are_sent_once_all_have_come() -> None:
    async with answering(http(b"")) as (port, seen):
        transport = transport_to(port)
        await transport.post({}, b"", as_it_is)
        calls = [asyncio.create_task(transport.post({}, b"%d" % n, as_it_is)) for n in range(3)]
        await asyncio.sleep(0)
        # All have begun, and none has taken the connection that is free.
        for call in calls[:2]:
            call.cancel()
        assert (await calls[2]).status == 200
        for call in calls[:2]:
            with pytest.raises(asyncio.CancelledError):
                await call
        await transport.aclose()
    assert seen.connections == 1
    assert seen.bodies == [b"", b"2"]


async def test_a_call_that_closing_overtakes_ends_with_an_error_and_is_not_sent() -> None:
    async with answering(http(b"")) as (port, seen):
        transport = transport_to(port)
        await transport.post({}, b"", as_it_is)
        call = asyncio.create_task(transport.post({}, SECRET, as_it_is))
        await asyncio.sleep(0)
        await transport.aclose()
        with pytest.raises(NetworkError):
            await call
        with pytest.raises(RuntimeError, match="closed"):
            await transport.post({}, SECRET, as_it_is)
    assert len(seen.heads) == 1
