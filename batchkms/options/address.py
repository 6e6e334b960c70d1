"""Addresses to listen on: how `HOST:PORT` is read and written."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from batchkms.errors import BadValue

LOOPBACK = "127.0.0.1"
"""What is listened on where no host is named, and what `localhost` means.

The name may mean two addresses, which would get two different free ports.
"""

_LABEL = "[A-Za-z0-9_][A-Za-z0-9_-]{0,62}"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*\.?")
_SHAPE = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^\[\]:\s]*)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address or a host name, without brackets, and a port; 0 is any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def address(value: Any) -> Address:
    """`HOST:PORT`, such as `127.0.0.1:9464`, `[::1]:9464` or, on loopback, `:9464`."""
    match = _SHAPE.fullmatch(value) if isinstance(value, str) and value.isascii() else None
    if match is None or int(match["port"]) > 65_535:
        raise BadValue("takes HOST:PORT such as 127.0.0.1:9464, [::1]:9464 or :9464")
    host = match["host"] if match["six"] is None else match["six"]
    return Address(_host(host, six=match["six"] is not None), int(match["port"]))


def _host(host: str, *, six: bool) -> str:
    if six:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            raise BadValue("takes an IPv6 address in its brackets, such as [::1]:9464") from None
    if host == "" or host.lower() == "localhost":
        return LOOPBACK
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise BadValue("takes an IPv4 address of four numbers, such as 0.0.0.0:9464") from None
    if not _NAME.fullmatch(host):
        raise BadValue("takes an IP address or the name of a host before its colon")
    return host
