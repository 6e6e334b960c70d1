"""The second transport: one call at a time over a pool of connections of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from batchkms.errors import ProtocolError
from batchkms.kms import mishaps
from batchkms.kms.endpoint import Endpoint
from batchkms.kms.headers import SignedHeaders
from batchkms.kms.http1.exchange import Carried
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
        self._to_start: list[_Call] = []
        self._loop = asyncio.get_running_loop()
        # Concurrency is the caller's matter: the pool must never be a second, hidden queue.
        self._pool = Pool(
            endpoint, ca_file=ca_file, connect_timeout_s=connect_timeout_s, timeout_s=timeout_s
        )

    async def post(
        self, headers: Mapping[str, str], body: bytes, accept: Callable[[Answer], T]
    ) -> T:
        """Sends a POST to `/`; see `Transport.post`. Cancelling it closes the connection."""
        if type(headers) is SignedHeaders:
            request = headers.request_bytes(body)
        else:
            request = request_bytes(self._with_host(headers), body)
        call = _Call(request, accept, self._loop.create_future())
        # Calls that come in one turn of the loop are sent one right after the other, once all
        # that had come is dealt with: a server on the same machine is then woken up once for all
        # of them, and to wake it up takes the sender more time than anything else in a call.
        if not self._to_start:
            self._loop.call_soon(self._start_all)
        self._to_start.append(call)
        try:
            await call.over
        except asyncio.CancelledError:
            self._pool.drop(call)
            raise
        if call.error is not None:
            raise call.error
        if call.refused is not None:
            raise call.refused
        return cast(T, call.accepted)

    def _start_all(self) -> None:
        calls, self._to_start = self._to_start, []
        for call in calls:
            # Whoever was cancelled meanwhile has nothing sent for it.
            if not call.over.done():
                try:
                    self._pool.start(call)
                except RuntimeError as error:
                    call.refused = error
                    call.over.set_result(None)

    def _with_host(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        if any(name.lower() == "host" for name in headers):
            return headers
        return {"Host": self._host, **headers}

    async def aclose(self) -> None:
        """Closes every connection. Calls that were not sent yet never are."""
        calls, self._to_start = self._to_start, []
        for call in calls:
            if not call.over.done():
                call.error = mishaps.connection_reset()
                call.over.set_result(None)
        await self._pool.aclose()


class _Call(Carried):
    """The exchange of one `post`, and what `accept` made of its answer or raised.

    Neither is the result of the future: an exception that nobody is left to take would be logged.
    """

    __slots__ = ("_accept", "_request", "accepted", "over", "refused")

    def __init__(
        self, request: bytes, accept: Callable[[Answer], object], over: asyncio.Future[None]
    ) -> None:
        super().__init__()
        self.over = over
        self.accepted: object = None
        self.refused: Exception | None = None
        self._request = request
        self._accept = accept

    def to_send(self) -> bytes:
        return self._request

    def ended(self) -> bool:
        if self.over.done():
            return False
        self.over.set_result(None)
        if self.answer is None:
            return False
        try:
            self.accepted = self._accept(self.answer)
        except Exception as error:
            self.refused = error
            return not isinstance(error, ProtocolError)
        return True
