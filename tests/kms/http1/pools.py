"""Pools under test, and exchanges that can be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from batchkms.kms.endpoint import parse_endpoint
from batchkms.kms.http1.exchange import Carried
from batchkms.kms.http1.pool import Pool
from batchkms.kms.http1.requests import request_bytes

SECRET = b'{"Plaintext":"cGxhaW4tdGV4dA=="}'


@asynccontextmanager
async def pool_to(port: int, *, scheme: str = "http", **options: Any) -> AsyncIterator[Pool]:
    """A pool to a port on loopback; nothing is left of it, and no callback failed unseen."""
    defects: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: defects.append(context))
    pool = Pool(parse_endpoint(f"{scheme}://127.0.0.1:{port}"), **options)
    try:
        yield pool
    finally:
        await pool.aclose()
        assert (pool.busy, pool.open_connections, pool.room) == (0, 0, 0)
    assert not defects, defects


class Exchange(Carried):
    """One whose request and end are functions."""

    __slots__ = ("on_done", "request")

    def __init__(self, request: Callable[[], bytes], on_done: Callable[[Exchange], bool]) -> None:
        super().__init__()
        self.request = request
        self.on_done = on_done

    def to_send(self) -> bytes:
        return self.request()

    def ended(self) -> bool:
        return self.on_done(self)


class Call:
    """One exchange, begun; `await` it for its end."""

    def __init__(
        self, pool: Pool, body: bytes = SECRET, *, keep: bool = True, start: bool = True
    ) -> None:
        self.ends = 0
        self._keep = keep
        self._ended = asyncio.get_running_loop().create_future()
        self.exchange = Exchange(lambda: request_bytes({"Host": "kms"}, body), self._done)
        if start:
            pool.start(self.exchange)

    def _done(self, exchange: Exchange) -> bool:
        assert exchange is self.exchange
        self.ends += 1
        if not self._ended.done():
            self._ended.set_result(None)
        return self._keep

    def __await__(self) -> Any:
        yield from asyncio.wait_for(asyncio.shield(self._ended), 5).__await__()
        exchange = self.exchange
        assert self.ends == 1
        assert (exchange.answer is None) != (exchange.error is None)
        assert exchange.begun_s <= (exchange.sent_s or exchange.begun_s) <= exchange.done_s
        return exchange


def code_of(exchange: Exchange) -> str:
    """The code of the error that it ended with, or none."""
    return "" if exchange.error is None else exchange.error.code


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop turn until something is so."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - of many kinds of things, none has an event
            await asyncio.sleep(0.001)
