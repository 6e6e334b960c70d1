"""Serves metrics to Prometheus on the event loop of the run, which no client can hold up.

Scrapes are few and small. Whoever connects and says nothing, reads nothing or comes a hundred
times takes one of a few connections, of which the oldest one is closed for a new one.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from batchkms.errors import ConfigError
from batchkms.options import Address

PATH = "/metrics"

MOST_CONNECTIONS = 16
"""Prometheus keeps one open, two of them two."""

GRACE_S = 0.2
"""How long an answer that is on its way may still take at the end."""

FRESH_S = 0.1
"""What was told is told again for so long: many scrapes cost the run no more than one."""

# What aiohttp has to say of requests that are none is nothing to whoever runs a batch. A logger
# that is registered nowhere has no handlers, whatever the program configures.
_MUTE = logging.Logger("batchkms.metrics.http", level=logging.CRITICAL + 1)


@asynccontextmanager
async def served(address: Address | None, collector: Collector) -> AsyncIterator[str | None]:
    """Serves what a collector tells, and the metrics of the process, while the block runs.

    Gives the URL, with the port that was found where 0 was asked for. Without an address nothing
    is served. Raises ConfigError if that address cannot be listened on.
    """
    if address is None:
        yield None
        return
    front = _Front(collector)
    try:
        server = await asyncio.get_running_loop().create_server(front, address.host, address.port)
    except OSError as error:
        raise _cannot_serve(address, error) from None
    try:
        port = server.sockets[0].getsockname()[1]
        yield f"http://{Address(address.host, port)}{PATH}"
    finally:
        server.close()
        await front.end()
        await server.wait_closed()


class _Front(web.Server):
    """Answers scrapes, over MOST_CONNECTIONS at the most."""

    def __init__(self, collector: Collector) -> None:
        super().__init__(
            self._answer, access_log=None, logger=_MUTE, keepalive_timeout=75.0, lingering_time=0.5
        )
        self._registry = CollectorRegistry()
        self._registry.register(collector)
        ProcessCollector(registry=self._registry)
        self._open: dict[RequestHandler, asyncio.Transport] = {}
        self._ended = False
        self._told: tuple[str, float, bytes] = ("", 0.0, b"")

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Takes a new connection; one too many closes the oldest one."""
        super().connection_made(handler, transport)
        self._open[handler] = transport
        if self._ended:
            transport.abort()
        while len(self._open) > MOST_CONNECTIONS:
            self._open.pop(next(iter(self._open))).abort()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Forgets a connection."""
        self._open.pop(handler, None)
        super().connection_lost(handler, exc)

    async def end(self) -> None:
        """Ends every connection, after the answers that are on their way."""
        self._ended = True
        self.pre_shutdown()
        await self.shutdown(GRACE_S)
        for transport in self._open.values():
            # What its client has not read by now would keep it open.
            transport.abort()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        # `request.path` and `request.url` are never touched: a Host that is none makes them raise.
        if request.raw_path.partition("?")[0] != PATH:
            return web.Response(status=404, text=f"there is nothing here but {PATH}\n")
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="use GET\n", headers={"Allow": "GET, HEAD"})
        accepted = ",".join(request.headers.getall("Accept", []))
        try:
            encode, content_type = choose_encoder(accepted)
        except (TypeError, ValueError):
            # It asks for a version that is no version.
            encode, content_type = choose_encoder("")
        now_s = asyncio.get_running_loop().time()
        if self._told[0] != content_type or now_s - self._told[1] > FRESH_S:
            self._told = (content_type, now_s, encode(self._registry))
        return web.Response(body=self._told[2], headers={"Content-Type": content_type})


def _cannot_serve(address: Address, error: OSError) -> ConfigError:
    where = f"metrics cannot be served at {address}"
    if isinstance(error, socket.gaierror):
        return ConfigError(
            f"{where}: there is no host {address.host}", hint="write an address of this machine"
        )
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"{where}: another program listens there, maybe another run",
            hint="give --metrics another port, or port 0 for any free one",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigError(
            f"{where}: this machine has no such address",
            hint="write 127.0.0.1 for this machine alone, or 0.0.0.0 for whoever can reach it",
        )
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    return ConfigError(f"{where}: {reason}", hint="give --metrics another port, from 1024 on")
