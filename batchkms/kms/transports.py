"""Which transport carries the requests, by its name."""

from __future__ import annotations

from typing import Literal

from batchkms.errors import ConfigError
from batchkms.kms.endpoint import Endpoint
from batchkms.kms.transport import Transport

TransportKind = Literal["auto", "aiohttp", "wire"]
"""`wire` is our own, made for speed; `aiohttp` the one that goes through proxies."""


def transport_to(
    endpoint: Endpoint,
    kind: TransportKind = "auto",
    *,
    ca_file: str | None = None,
    proxy: str | None = None,
    connect_timeout_s: float = 3.0,
    timeout_s: float = 10.0,
) -> Transport:
    """The transport of this kind; for `auto` aiohttp's where there is a proxy, else `wire`.

    To be called inside a running event loop. Raises ConfigError for a proxy that cannot be used
    or goes with another kind, and for a CA file that cannot be used.
    """
    if proxy is not None and kind == "wire":
        raise ConfigError(
            "the transport wire goes through no proxy",
            hint="leave out --transport, or name aiohttp",
        )
    # What sends nothing needs neither, and aiohttp takes longer to load than all else.
    if proxy is None and kind != "aiohttp":
        from batchkms.kms.http1.transport import WireTransport

        return WireTransport(
            endpoint, ca_file=ca_file, connect_timeout_s=connect_timeout_s, timeout_s=timeout_s
        )
    from batchkms.kms.aiohttptransport import AiohttpTransport

    return AiohttpTransport(
        endpoint,
        ca_file=ca_file,
        proxy=proxy,
        connect_timeout_s=connect_timeout_s,
        timeout_s=timeout_s,
    )
