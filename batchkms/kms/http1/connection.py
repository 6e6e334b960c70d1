"""One connection, from the first packet to the last: it carries one exchange at a time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast

from batchkms.errors import NetworkError, ProtocolError
from batchkms.kms import mishaps
from batchkms.kms.http1.exchange import Carried
from batchkms.kms.http1.reading import AnswerReader

if TYPE_CHECKING:
    from batchkms.kms.http1.pool import Pool


class Connection(asyncio.Protocol):
    """A connection of a pool, made for the exchange that it carries first.

    What comes while nothing is asked, or after the end of an answer, makes it unusable: it
    would be taken for the answer to the next request.
    """

    __slots__ = (
        "_clogged",
        "_pool",
        "_reader",
        "_transport",
        "dialing",
        "dialled_s",
        "exchange",
        "idle_since_s",
        "tcp_done_s",
        "used",
    )

    def __init__(self, pool: Pool, exchange: Carried) -> None:
        self._pool = pool
        self._reader = AnswerReader()
        self._transport: asyncio.Transport | None = None
        self._clogged = False
        self.exchange: Carried | None = exchange
        self.dialing: asyncio.Task[None] | None = None
        self.dialled_s = exchange.begun_s
        self.tcp_done_s = 0.0
        self.idle_since_s = 0.0
        self.used = False

    def is_open(self) -> bool:
        """Whether it can carry something."""
        return self._transport is not None and not self._transport.is_closing()

    def carry(self, exchange: Carried) -> None:
        """Sends the request of an exchange."""
        if self._transport is None:
            return
        try:
            request = exchange.to_send()
        except Exception as defect:
            self._pool.report(defect)
            # Later: whoever has just started it does not expect it to be over already.
            asyncio.get_running_loop().call_soon(self._give_up, exchange)
            return
        exchange.reused = self.used
        exchange.sent_bytes = len(request)
        exchange.sent_s = time.monotonic()
        self.used = True
        self._transport.write(request)

    def _give_up(self, exchange: Carried) -> None:
        if self.exchange is exchange:
            self.fail(mishaps.connection_reset())

    def fail(self, error: NetworkError | ProtocolError) -> None:
        """Ends the exchange with an error, and the connection with it."""
        self.abort()
        self._pool.ended(self, None, error, False)

    def close(self) -> None:
        """Ends the connection; over TLS with a goodbye."""
        if self._transport is None or self._clogged:
            # The rest of a request that was answered before it was sent is of no use.
            self.abort()
        else:
            self._transport.close()

    def abort(self) -> None:
        """Ends the connection now."""
        if self.dialing is not None:
            self.dialing.cancel()
        if self._transport is not None:
            self._transport.abort()

    # -- What the event loop calls -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the request that it was opened for."""
        now_s = time.monotonic()
        # From now on the transport is what can be ended. Cancelled in the moment before it
        # returns, uvloop's create_connection would never tell the end of the connection.
        self.dialing = None
        self._transport = cast(asyncio.Transport, transport)
        # Whatever is not written yet when the answer comes makes the connection unusable. Not 0:
        # both loops' TLS would then pause when there is nothing to write.
        self._transport.set_write_buffer_limits(high=1)
        self._pool.opened(self, now_s)
        if self.exchange is None:
            self._transport.abort()
        else:
            self.carry(self.exchange)

    def data_received(self, data: bytes) -> None:
        """Reads on in the answer."""
        exchange = self.exchange
        if exchange is None:
            self._pool.forget(self)
            self.abort()
            return
        if exchange.sent_s is None:
            # It is no answer to a request that could not be made.
            self.fail(mishaps.connection_reset())
            return
        exchange.received_bytes += len(data)
        try:
            answer = self._reader.feed(data)
        except ProtocolError as error:
            self.fail(error)
            return
        if answer is not None:
            reusable = self._reader.reusable and not self._clogged
            self._pool.ended(self, answer, None, reusable)

    def eof_received(self) -> None:
        """Takes the end for what it is: that of the answer, or of all hope for one."""
        if self.exchange is None:
            self._pool.forget(self)
        elif (answer := self._reader.at_end()) is not None:
            self._pool.ended(self, answer, None, False)
        else:
            self.fail(mishaps.connection_reset())

    def connection_lost(self, exc: Exception | None) -> None:
        """Whatever was not answered will not be. May be called again."""
        if self._transport is None:
            return
        if self.exchange is not None:
            self.fail(mishaps.connection_reset())
        self._transport = None
        self._pool.lost(self)

    def pause_writing(self) -> None:
        """Notes that a part of the request waits to be sent."""
        self._clogged = True

    def resume_writing(self) -> None:
        """Notes that all of it was."""
        self._clogged = False
