"""Metrics over real sockets: to those that ask, past those that hang, and to the very end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
import uvloop
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from batchkms.errors import ConfigError
from batchkms.options import Address
from batchkms.reporting.metricserver import FRESH_S, MOST_CONNECTIONS, served
from tests.scripted import other_tasks

ANY = Address("127.0.0.1", 0)

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
"""What Prometheus itself accepts."""


class _Counting(Collector):
    """Tells how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def collect(self) -> Iterator[Metric]:
        self.asked += 1
        yield GaugeMetricFamily("asked", "Scrapes.", value=self.asked)


class _Broken(Collector):
    def collect(self) -> Iterator[Metric]:
        raise RuntimeError("a defect")


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


async def _connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = url.removeprefix("http://").removesuffix("/metrics").rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port))


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0"),
        (PROMETHEUS, "application/openmetrics-text; version=1.0.0"),
    ],
)
async def test_it_speaks_the_format_that_is_asked_for(
    http: aiohttp.ClientSession, accept: str | None, content_type: str
) -> None:
    headers = {} if accept is None else {"Accept": accept}
    async with served(ANY, _Counting()) as url:
        assert url is not None
        async with http.get(url, headers=headers) as response:
            text = await response.text()
    assert response.status == 200
    assert response.headers["Content-Type"].startswith(content_type)
    openmetrics = content_type.startswith("application")
    parse = openmetrics_families if openmetrics else text_string_to_metric_families
    told = {sample.name: sample.value for family in parse(text) for sample in family.samples}
    assert told["asked"] == 1
    assert told["process_resident_memory_bytes"] > 1e6


async def test_a_version_that_is_none_is_no_error(http: aiohttp.ClientSession) -> None:
    async with served(ANY, _Counting()) as url:
        assert url is not None
        headers = {"Accept": "application/openmetrics-text;version=none,text/plain;version="}
        async with http.get(url, headers=headers) as response:
            assert (response.status, "asked 1.0" in await response.text()) == (200, True)


async def test_there_is_nothing_else(http: aiohttp.ClientSession) -> None:
    async with served(ANY, _Counting()) as url:
        assert url is not None
        for path in ("", "/metrics/", "/favicon.ico", "/metricsx"):
            async with http.get(url.removesuffix("/metrics") + path) as response:
                assert (response.status, "nothing here" in await response.text()) == (404, True)
        async with http.post(url, data=b"x" * 100_000) as response:
            assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
        async with http.get(url + "?name=a", headers={"Host": "//::"}) as response:
            assert response.status == 200
        async with http.head(url) as response:
            assert (response.status, await response.read()) == (200, b"")


async def test_many_scrapes_cost_no_more_than_one(http: aiohttp.ClientSession) -> None:
    collector = _Counting()
    loop = asyncio.get_running_loop()
    async with served(ANY, collector) as url:
        assert url is not None
        began_s = loop.time()
        for _ in range(30):
            async with http.get(url) as response:
                assert response.status == 200
        assert 1 <= collector.asked <= 1 + (loop.time() - began_s) / FRESH_S
        asked = collector.asked
        await asyncio.sleep(FRESH_S * 1.1)
        async with http.get(url) as response:
            assert f"asked {asked + 1}.0" in await response.text()


async def test_clients_that_hang_take_no_place_from_others(http: aiohttp.ClientSession) -> None:
    async with served(ANY, _Counting()) as url:
        assert url is not None
        hanging = [await _connect(url) for _ in range(2 * MOST_CONNECTIONS)]
        for _, writer in hanging[::2]:
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\n")
        async with http.get(url) as response:
            assert response.status == 200
        # The oldest ones were closed, and not the newest: that may be a slow one of good will.
        for reader, _ in hanging[:MOST_CONNECTIONS]:
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(reader.readexactly(1), 5)
        reader, writer = hanging[-2]
        writer.write(b"\r\n")
        assert await asyncio.wait_for(reader.readline(), 5) == b"HTTP/1.1 200 OK\r\n"
    for _, writer in hanging:
        writer.close()


def test_it_ends_at_once_though_clients_hang() -> None:
    for run in (asyncio.run, uvloop.run):
        run(_ends_at_once())


async def _ends_at_once() -> None:
    before = other_tasks()
    loop = asyncio.get_running_loop()
    async with served(ANY, _Counting()) as url:
        assert url is not None
        _, silent = await _connect(url)
        _, half = await _connect(url)
        half.write(b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx")
        _, deaf = await _connect(url)
        deaf.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 10_000)
        await asyncio.sleep(0.05)
        began_s = loop.time()
    assert loop.time() - began_s < 2
    for writer in (silent, half, deaf):
        writer.transport.abort()
    await asyncio.sleep(0.01)
    assert other_tasks() <= before


async def test_an_answer_on_its_way_at_the_end_is_whole() -> None:
    async with served(ANY, _Counting()) as url:
        assert url is not None
        reader, writer = await _connect(url)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split()[0])
    assert b"asked 1.0" in await reader.readexactly(length)
    assert await reader.read() == b""
    writer.close()


async def test_its_port_is_free_again_at_once() -> None:
    async with served(ANY, _Counting()) as url:
        assert url is not None
        port = int(url.rpartition(":")[2].partition("/")[0])
        _, writer = await _connect(url)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    async with served(Address("127.0.0.1", port), _Counting()) as again:
        assert again == url
    writer.close()


async def test_a_defect_is_the_scrapes_alone(
    http: aiohttp.ClientSession, capfd: pytest.CaptureFixture[str]
) -> None:
    async with served(ANY, _Broken()) as url:
        assert url is not None
        for _ in range(2):
            async with http.get(url) as response:
                assert response.status == 500
        reader, writer = await _connect(url)
        writer.write(b"\x16\x03\x01 no http\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.0 400")
        writer.close()
    assert capfd.readouterr() == ("", "")


async def test_without_an_address_nothing_is_served() -> None:
    collector = _Counting()
    async with served(None, collector) as url:
        assert url is None
    assert collector.asked == 0


async def test_ipv6_has_its_brackets(http: aiohttp.ClientSession) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with served(Address("::1", 0), _Counting()) as url:
        assert url is not None
        assert url.startswith("http://[::1]:")
        async with http.get(url) as response:
            assert response.status == 200


async def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = Address("127.0.0.1", other.getsockname()[1])
        with pytest.raises(ConfigError, match=f"served at {address}: another program") as told:
            async with served(address, _Counting()):
                pass
    assert "port 0" in str(told.value.hint)


async def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(ConfigError, match="this machine has no such address") as told:
        async with served(Address("192.0.2.1", 0), _Counting()):
            pass
    assert "127.0.0.1" in str(told.value.hint)
