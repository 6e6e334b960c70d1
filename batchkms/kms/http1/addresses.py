"""The addresses of a host: looked up once for all connections that are opened at a time."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from typing import Any

from batchkms.kms import mishaps

KEPT_S = 10.0
"""How long a look-up is good for: a load test that opens hundreds of connections asks once, and
a service that moves is found again soon."""

Address = tuple[int, Any]
"""A family, and what the system calls an address of it."""


class Addresses:
    """The addresses of one host and port, in the order of the system's preference."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._literal = _literal(host, port)
        self._found: list[Address] = []
        self._found_s = 0.0
        self._look_up: asyncio.Task[list[Address]] | None = None

    async def get(self) -> list[Address]:
        """At least one address. Raises NetworkError DnsFailure."""
        if self._literal is not None:
            return [self._literal]
        if self._found and time.monotonic() - self._found_s < KEPT_S:
            return self._found
        if self._look_up is None:
            self._look_up = asyncio.get_running_loop().create_task(self._looked_up())
        # It is for everybody who waits, whoever of them gives up.
        found = await asyncio.shield(self._look_up)
        if not found:
            raise mishaps.dns_failure(self._host)
        return found

    async def _looked_up(self) -> list[Address]:
        """The addresses; none if the look-up fails, which whoever still waits is to say."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            found = []
        finally:
            self._look_up = None
        self._found = [(family, address) for family, _, _, _, address in found]
        self._found_s = time.monotonic()
        return self._found

    def close(self) -> None:
        """Waits for no look-up any more."""
        if self._look_up is not None:
            self._look_up.cancel()


def _literal(host: str, port: int) -> Address | None:
    """The address that a host is written as, which needs no look-up."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    return (socket.AF_INET if version == 4 else socket.AF_INET6), (host, port)
