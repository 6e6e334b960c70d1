"""How a connection comes to be: the addresses of the host, TCP to the first that takes it, TLS."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from batchkms.kms import mishaps
from batchkms.kms.transport import Endpoint, tls_context

if TYPE_CHECKING:
    from batchkms.kms.http1.connection import Connection

CLOSING_TLS_S = 1.0
"""How long the other side may take to say goodbye."""

_Address = tuple[int, Any]
"""A family, and what the system calls an address of it."""


class Dialer:
    """Opens connections to one endpoint. Raises ConfigError for a CA file that cannot be used."""

    def __init__(self, endpoint: Endpoint, *, ca_file: str | None, timeout_s: float) -> None:
        parts = urlsplit(endpoint.url)
        secure = endpoint.scheme == "https"
        self._host = (parts.hostname or "").rstrip(".")
        self._port = parts.port or (443 if secure else 80)
        self._tls = tls_context(ca_file) if secure else None
        self._timeout_s = timeout_s
        self._literal = _literal(self._host, self._port)

    async def dial(self, connection: Connection) -> None:
        """Opens the connection, which notes when TCP was there. Raises NetworkError."""
        limit = asyncio.timeout(self._timeout_s)
        try:
            async with limit:
                ready = await self._connected(await self._addresses())
                connection.tcp_done_s = time.monotonic()
                await self._given_to_loop(ready, connection)
        except OSError as error:
            if limit.expired():
                raise mishaps.connect_timeout() from None
            raise mishaps.connecting_failed(self._host, self._port, error) from None

    async def _addresses(self) -> list[_Address]:
        if self._literal is not None:
            return [self._literal]
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError):
            raise mishaps.dns_failure(self._host) from None
        return [(family, address) for family, _, _, _, address in found]

    async def _connected(self, addresses: list[_Address]) -> socket.socket:
        """A socket that is connected to the first address that takes it, each in its turn.

        None may use up the time of those after it: a path that swallows everything, as
        a broken IPv6 does, must not hide the one that works.
        """
        until_s = time.monotonic() + self._timeout_s
        failure: OSError = OSError("the host has no address")
        for tried, (family, address) in enumerate(addresses):
            share_s = (until_s - time.monotonic()) / (len(addresses) - tried)
            last = tried == len(addresses) - 1
            try:
                # The last one is cut by the limit on it all.
                async with asyncio.timeout(None if last else share_s):
                    return await _connect(family, address)
            except OSError as error:
                failure = error
        raise failure

    async def _given_to_loop(self, ready: socket.socket, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        if self._tls is None:
            await loop.create_connection(lambda: connection, sock=ready)
        else:
            await loop.create_connection(
                lambda: connection,
                sock=ready,
                ssl=self._tls,
                server_hostname=self._host,
                # The limit on it all comes first, and says what it is.
                ssl_handshake_timeout=2 * self._timeout_s,
                ssl_shutdown_timeout=CLOSING_TLS_S,
            )


def _literal(host: str, port: int) -> _Address | None:
    """The address that a host is written as, which needs no look-up in a thread."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    return (socket.AF_INET if version == 4 else socket.AF_INET6), (host, port)


async def _connect(family: int, address: Any) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made
