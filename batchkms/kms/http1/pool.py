"""The kept connections to one endpoint: who carries the next request, and for how long.

Everything is done by callbacks of the event loop: a call makes no task, no future and no timer.
The timeout is the same for all, so the exchanges run out of time in the order in which they
were begun, and one timer watches the oldest.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from batchkms.errors import NetworkError, ProtocolError
from batchkms.kms import mishaps
from batchkms.kms import transport as shared
from batchkms.kms.endpoint import Endpoint
from batchkms.kms.http1.connection import Connection
from batchkms.kms.http1.dialing import CLOSING_TLS_S, Dialer
from batchkms.kms.http1.exchange import Carried
from batchkms.kms.transport import Answer

_SHORTEST_TIMER_S = 0.001
"""uvloop rounds to this: a shorter wait would be none, over and over."""


@dataclass(frozen=True, slots=True)
class Connected:
    """How long one connection took: TCP with the look-up of the name, then TLS if there is any."""

    connect_s: float
    tls_s: float | None


class Pool:
    """Connections to one endpoint, as many as are needed, up to `max_connections`.

    `timeout_s` is for a whole exchange from `start`, `connect_timeout_s` for connecting and TLS.
    `on_connected` is told of every connection, `on_room`, an attribute, whenever an exchange has
    ended and another one can be started. Make it inside a running event loop. Raises
    ConfigError for a CA file that cannot be used.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        ca_file: str | None = None,
        connect_timeout_s: float = 3.0,
        timeout_s: float = 10.0,
        max_connections: int | None = None,
        on_connected: Callable[[Connected], None] | None = None,
    ) -> None:
        self.on_room: Callable[[], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._secure = endpoint.scheme == "https"
        self._dialer = Dialer(
            endpoint, ca_file=ca_file, timeout_s=min(connect_timeout_s, timeout_s)
        )
        self._timeout_s = timeout_s
        self._idle_s = shared.IDLE_CONNECTION_S
        self._max = max_connections
        self._on_connected = on_connected
        self._closed = False
        # All in the order in which they came: the oldest is the first to run out of time.
        self._busy: dict[Connection, Carried] = {}
        self._idle: dict[Connection, None] = {}
        # What counts for `max_connections`: busy, idle, and in the hands of an `Carried.ended`.
        self._kept: set[Connection] = set()
        # Those whose end the event loop has not told yet, and tasks that are not over.
        self._alive: set[Connection | asyncio.Task[None]] = set()
        self._last_gone: asyncio.Future[None] | None = None
        self._open = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None

    @property
    def room(self) -> int:
        """How many exchanges can be started now, on idle connections or on more of them."""
        if self._closed:
            return 0
        if self._max is None:
            return sys.maxsize
        return self._max - len(self._kept) + len(self._idle)

    @property
    def open_connections(self) -> int:
        """Connections that are open, idle or not; none that is being opened."""
        return self._open

    @property
    def busy(self) -> int:
        """Exchanges under way, whether their connection is open yet or not."""
        return len(self._busy)

    def start(self, exchange: Carried) -> None:
        """Sends an exchange on the connection that was used last, or opens one for it.

        Raises RuntimeError without room.
        """
        exchange.begun_s = now_s = time.monotonic()
        connection = self._take_idle(now_s)
        if connection is None:
            if not self.room:
                raise RuntimeError(
                    "the pool has no room: every connection is busy, or it is closed"
                )
            connection = self._dialled(exchange)
        exchange.connection = connection
        connection.exchange = exchange
        self._busy[connection] = exchange
        if self._deadline is None:
            self._watch(self._timeout_s)
        connection.carry(exchange)

    def drop(self, exchange: Carried) -> None:
        """Gives up an exchange under way: its connection is closed, it ends with an error."""
        connection = exchange.connection
        if connection is not None and connection.exchange is exchange:
            connection.fail(mishaps.connection_reset())

    async def aclose(self) -> None:
        """Ends what is under way with an error, then closes every connection."""
        self._closed = True
        for connection in list(self._busy):
            connection.fail(mishaps.connection_reset())
        for connection in list(self._idle):
            self.forget(connection)
            connection.close()
        for timer in (self._deadline, self._expiry):
            if timer is not None:
                timer.cancel()
        self._dialer.close()
        await self._all_gone(CLOSING_TLS_S)
        for rest in self._alive:
            if isinstance(rest, Connection):
                rest.abort()
        await self._all_gone(CLOSING_TLS_S)

    async def _all_gone(self, limit_s: float) -> None:
        """Waits until every connection has ended, but not for longer than that."""
        self._last_gone = self._loop.create_future()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                if self._alive:
                    await self._last_gone
        self._last_gone = None

    # -- Connections ---------------------------------------------------------------------------

    def _take_idle(self, now_s: float) -> Connection | None:
        """The idle connection that was used last, unless that is too long ago."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if now_s - connection.idle_since_s < self._idle_s and connection.is_open():
                return connection
            self._kept.discard(connection)
            connection.close()
        return None

    def _dialled(self, exchange: Carried) -> Connection:
        connection = Connection(self, exchange)
        self._kept.add(connection)
        connection.dialing = task = self._loop.create_task(self._dial(connection))
        self._alive.add(task)
        task.add_done_callback(self._gone)
        return connection

    async def _dial(self, connection: Connection) -> None:
        try:
            await self._dialer.dial(connection)
        except NetworkError as error:
            failure = error
        except Exception as defect:
            self.report(defect)
            failure = mishaps.connection_reset()
        except asyncio.CancelledError:
            # Given up in the moment when it was made: uvloop closes it without telling its end.
            connection.connection_lost(None)
            raise
        else:
            return
        finally:
            connection.dialing = None
        if connection.exchange is not None:
            connection.fail(failure)
        # The limit may have struck just when the connection was made, see `connection_made`.
        connection.connection_lost(None)

    def opened(self, connection: Connection, now_s: float) -> None:
        """Counts a connection that can be used from now on, and tells how long it took."""
        self._alive.add(connection)
        self._open += 1
        if self._on_connected is None:
            return
        connect_s = connection.tcp_done_s - connection.dialled_s
        tls_s = now_s - connection.tcp_done_s if self._secure else None
        try:
            self._on_connected(Connected(connect_s, tls_s))
        except Exception as defect:
            self.report(defect)

    def forget(self, connection: Connection) -> None:
        """Never uses a connection again."""
        self._idle.pop(connection, None)
        self._kept.discard(connection)

    def lost(self, connection: Connection) -> None:
        """Forgets a connection that is no more."""
        self.forget(connection)
        self._open -= 1
        self._gone(connection)

    def _gone(self, one: Connection | asyncio.Task[None]) -> None:
        self._alive.discard(one)
        if not self._alive and self._last_gone is not None and not self._last_gone.done():
            self._last_gone.set_result(None)

    # -- The end of an exchange ------------------------------------------------------------------

    def ended(
        self,
        connection: Connection,
        answer: Answer | None,
        error: NetworkError | ProtocolError | None,
        reusable: bool,
    ) -> None:
        """Hands an exchange back, then keeps or closes the connection that carried it."""
        # All by position, for it is done for every call, and by name that takes longer.
        exchange = connection.exchange
        if exchange is None:
            return
        connection.exchange = exchange.connection = None
        del self._busy[connection]
        exchange.done_s = now_s = time.monotonic()
        exchange.answer, exchange.error = answer, error
        try:
            again = exchange.ended()
        except Exception as defect:
            self.report(defect)
            again = False
        except BaseException:
            self.forget(connection)
            connection.abort()
            raise
        if again and reusable and not self._closed:
            # Should it be closing by now, `_take_idle` or its end will find it.
            connection.idle_since_s = now_s
            self._idle[connection] = None
            if self._expiry is None:
                self._expiry = self._loop.call_later(self._idle_s, self._expire)
        else:
            self._kept.discard(connection)
            connection.close()
        if self.on_room is not None and not self._closed:
            try:
                self.on_room()
            except Exception as defect:
                self.report(defect)

    def report(self, defect: Exception) -> None:
        """Hands an error that a callback let out to the event loop's handler."""
        self._loop.call_exception_handler(
            {"message": "a callback of an HTTP exchange failed", "exception": defect}
        )

    # -- Time ------------------------------------------------------------------------------------

    def _watch(self, delay_s: float) -> None:
        self._deadline = self._loop.call_later(max(delay_s, _SHORTEST_TIMER_S), self._end_overdue)

    def _end_overdue(self) -> None:
        """Fails the exchanges whose time is over, and waits for the next one."""
        now_s = time.monotonic()
        while self._busy:
            connection, exchange = next(iter(self._busy.items()))
            left_s = exchange.begun_s + self._timeout_s - now_s
            if left_s > 0:
                self._watch(left_s)
                return
            sent = exchange.sent_s is not None
            connection.fail(
                mishaps.attempt_timeout(self._timeout_s) if sent else mishaps.connect_timeout()
            )
        self._deadline = None

    def _expire(self) -> None:
        """Closes the connections that nobody needed for long, and waits for the next one."""
        self._expiry = None
        now_s = time.monotonic()
        while self._idle:
            connection = next(iter(self._idle))
            left_s = connection.idle_since_s + self._idle_s - now_s
            if left_s > 0:
                self._expiry = self._loop.call_later(max(left_s, _SHORTEST_TIMER_S), self._expire)
                return
            self.forget(connection)
            connection.close()
