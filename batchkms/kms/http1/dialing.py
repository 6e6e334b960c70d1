"""How a connection comes to be: the addresses of the host, TCP to the first that takes it, TLS."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from batchkms.kms import mishaps
from batchkms.kms.endpoint import Endpoint
from batchkms.kms.http1.addresses import Address, Addresses
from batchkms.kms.tls import tls_context

if TYPE_CHECKING:
    from batchkms.kms.http1.connection import Connection

CLOSING_TLS_S = 1.0
"""How long the other side may take to say goodbye."""


class Dialer:
    """Opens connections to one endpoint. Raises ConfigError for a CA file that cannot be used."""

    def __init__(self, endpoint: Endpoint, *, ca_file: str | None, timeout_s: float) -> None:
        parts = urlsplit(endpoint.url)
        secure = endpoint.scheme == "https"
        # A name may end in the dot of the root, a certificate's never does.
        self._host = (parts.hostname or "").rstrip(".")
        self._port = parts.port or (443 if secure else 80)
        self._addresses = Addresses(self._host, self._port)
        self._tls = tls_context(ca_file) if secure else None
        self._timeout_s = timeout_s

    async def dial(self, connection: Connection) -> None:
        """Opens the connection, which notes when TCP was there. Raises NetworkError."""
        limit = asyncio.timeout(self._timeout_s)
        try:
            async with limit:
                ready = await self._connected(await self._addresses.get())
                connection.tcp_done_s = time.monotonic()
                await self._given_to_loop(ready, connection)
        except OSError as error:
            if limit.expired():
                raise mishaps.connect_timeout() from None
            raise mishaps.connecting_failed(self._host, self._port, error) from None

    def close(self) -> None:
        """Waits for no look-up of addresses any more."""
        self._addresses.close()

    async def _connected(self, addresses: list[Address]) -> socket.socket:
        """A socket that is connected to the first address that takes it, each in its turn.

        None may use up the time of those after it: a path that swallows everything, as
        a broken IPv6 does, must not hide the one that works.
        """
        until_s = time.monotonic() + self._timeout_s
        *others, last = addresses
        for tried, address in enumerate(others):
            share_s = (until_s - time.monotonic()) / (len(addresses) - tried)
            try:
                async with asyncio.timeout(share_s):
                    return await _connect(address)
            except OSError:
                continue
        return await _connect(last)

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


async def _connect(address: Address) -> socket.socket:
    family, where = address
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(made, where)
    except BaseException:
        made.close()
        raise
    return made
