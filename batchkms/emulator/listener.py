"""Where the emulator listens: opening, closing, and being away for a while as a fault."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import ssl

from aiohttp import web

from batchkms.emulator.faults.carry import reset
from batchkms.errors import ConfigError

_BACKLOG = 1024
_CLOSE_TIMEOUT_S = 2.0
_LOOPBACK = "127.0.0.1"
_PLAIN_HINT = (
    "it speaks plain HTTP, which anybody on the way could read: use 127.0.0.1 or ::1, "
    "or --tls, or --insecure-host if everybody on that network may see and use the keys"
)


class Listener:
    """A listening address. `port` 0 takes any free one, which is kept from then on.

    `tls` makes it speak HTTPS. With `reuse_port` other processes may listen there as well.
    """

    def __init__(
        self, *, host: str, port: int, tls: ssl.SSLContext | None = None, reuse_port: bool = False
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._reuse_port = reuse_port
        self._front: web.Server | None = None
        self._server: asyncio.Server | None = None
        self._return: asyncio.Task[None] | None = None

    @property
    def endpoint(self) -> str:
        """The URL for clients on this machine."""
        scheme = "https" if self._tls is not None else "http"
        reached = ipaddress.ip_address(self._host)
        if reached.is_unspecified:
            # Every address is listened on: this one is sure to be there.
            return f"{scheme}://{_LOOPBACK if reached.version == 4 else '[::1]'}:{self._port}"
        host = f"[{self._host}]" if reached.version == 6 else self._host
        return f"{scheme}://{host}:{self._port}"

    async def open(self, front: web.Server) -> None:
        """Listens, and has `front` answer. Raises ConfigError."""
        self._front = front
        try:
            await self._listen()
        except OSError as error:
            raise cannot_listen(self._host, self._port, error) from None

    def pause(self, for_s: float) -> None:
        """Refuses connections for a time, and resets those that are there.

        When it is called again meanwhile, nothing changes.
        """
        if self._server is None or self._front is None or self._return is not None:
            return
        self._server.close()
        for connection in self._front.connections:
            reset(connection.transport)
        self._return = asyncio.get_running_loop().create_task(self._come_back(for_s))

    async def close(self) -> None:
        """Stops listening, after the answers that are on their way."""
        if self._return is not None:
            self._return.cancel()
            await asyncio.wait([self._return])
        if self._server is None or self._front is None:
            return
        self._server.close()
        self._front.pre_shutdown()
        await self._front.shutdown(_CLOSE_TIMEOUT_S)
        await self._server.wait_closed()

    async def _come_back(self, for_s: float) -> None:
        await asyncio.sleep(for_s)
        await self._listen()
        self._return = None

    async def _listen(self) -> None:
        if self._front is None:
            raise RuntimeError("there is nobody to answer")
        self._server = await asyncio.get_running_loop().create_server(
            self._front,
            self._host,
            self._port,
            backlog=_BACKLOG,
            ssl=self._tls,
            reuse_port=self._reuse_port or None,
        )
        self._port = self._server.sockets[0].getsockname()[1]


def cannot_listen(host: str, port: int, error: OSError) -> ConfigError:
    """What to tell a user whose address and port cannot be listened on."""
    where = f"{host} port {port}"
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"{where} is in use by another program",
            hint="choose another port, or 0 for any free one",
        )
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    return ConfigError(f"cannot listen on {where}: {reason}", hint="choose another port")


def valid_host(host: str, *, guarded: bool) -> str:
    """The address to listen on. Raises ConfigError.

    One that others could reach has to be `guarded`: by TLS, or by the user's word that plain
    HTTP may be read there.
    """
    if host.lower() == "localhost":
        # The name may mean two addresses, which would get two different free ports.
        return _LOOPBACK
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        if guarded:
            raise ConfigError(
                f"{host or 'an empty host'} is no IP address",
                hint="write 0.0.0.0 to listen on every address of this machine",
            ) from None
        loopback = False
    if loopback or guarded:
        return host
    raise ConfigError(
        f"the emulator listens on loopback only, and {host or 'an empty host'} is not",
        hint=_PLAIN_HINT,
    )


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    return ipaddress.ip_address(host).is_loopback


def valid_port(port: int) -> int:
    """A port that there is. Raises ConfigError."""
    if not 0 <= port <= 65_535:
        raise ConfigError(
            f"{port} is no port", hint="choose one from 1 to 65535, or 0 for any free one"
        )
    return port
