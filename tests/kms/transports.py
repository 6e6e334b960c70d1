"""The transports that tests run over."""

from __future__ import annotations

from collections.abc import Callable

from batchkms.kms.aiohttptransport import AiohttpTransport
from batchkms.kms.http1.transport import WireTransport
from batchkms.kms.transport import Transport

Kind = Callable[..., Transport]
"""Makes a transport to an endpoint; the options are those that all transports have."""

KINDS: dict[str, Kind] = {"aiohttp": AiohttpTransport, "wire": WireTransport}
