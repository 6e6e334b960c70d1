"""The second transport: one call at a time over a pool of connections of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from batchkms.errors import ProtocolError
from batchkms.kms.endpoint import Endpoint
from batchkms.kms.http1.exchange import Exchange
from batchkms.kms.http1.pool import Pool
from batchkms.kms.http1.requests import request_bytes
from batchkms.kms.transport import Answer

T = TypeVar("T")


class WireTransport:
    """A `Transport` without a library in between, and without proxies.

    Make it inside a running event loop. Raises ConfigError for a CA file that cannot be used.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        ca_file: str | None = None,
        connect_timeout_s: float = 3.0,
        timeout_s: float = 10.0,
    ) -> None:
        self._host = endpoint.host
        # Concurrency is the caller's matter: the pool must never be a second, hidden queue.
        self._pool = Pool(
            endpoint, ca_file=ca_file, connect_timeout_s=connect_timeout_s, timeout_s=timeout_s
        )

    async def post(self, headers: dict[str, str], body: bytes, accept: Callable[[Answer], T]) -> T:
        """Sends a POST to `/`; see `Transport.post`. Cancelling it closes the connection."""
        if "Host" not in headers and not any(name.lower() == "host" for name in headers):
            headers = {"Host": self._host, **headers}
        request = request_bytes(headers, body)
        ended = asyncio.get_running_loop().create_future()
        # Not the future's own result: an exception that nobody is left to take would be logged.
        accepted: list[T] = []
        refused: list[Exception] = []

        def on_done(exchange: Exchange) -> bool:
            if ended.done():
                return False
            ended.set_result(None)
            if exchange.answer is None:
                return False
            try:
                accepted.append(accept(exchange.answer))
            except Exception as error:
                refused.append(error)
                return not isinstance(error, ProtocolError)
            return True

        exchange = Exchange(lambda: request, on_done)
        self._pool.start(exchange)
        try:
            await ended
        except asyncio.CancelledError:
            self._pool.drop(exchange)
            raise
        if exchange.error is not None:
            raise exchange.error
        if refused:
            raise refused[0]
        return accepted[0]

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._pool.aclose()
