"""One request and what became of it: what is handed to a pool and comes back by a callback."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from batchkms.errors import NetworkError, ProtocolError
from batchkms.kms.transport import Answer

if TYPE_CHECKING:
    from batchkms.kms.http1.connection import Connection


class Exchange:
    """One request and its answer, or the error that came instead: exactly one of them.

    `request` gives the whole request, head and body; it is called when a connection is ready
    to carry it, so that a signature in it is fresh. `on_done` is called once, before the
    connection is used again, and returns whether it may be. An exception out of either is a
    defect: the event loop's exception handler gets it, and the connection is closed.

    Times are in seconds of `time.monotonic()`. That is the clock of the event loop's `time()`,
    which uvloop gives in whole milliseconds, and as they were when the loop last woke up.
    """

    __slots__ = (
        "answer",
        "begun_s",
        "connection",
        "done_s",
        "error",
        "on_done",
        "received_bytes",
        "request",
        "reused",
        "sent_bytes",
        "sent_s",
    )

    def __init__(self, request: Callable[[], bytes], on_done: Callable[[Exchange], bool]) -> None:
        self.request = request
        self.on_done = on_done
        self.begun_s = 0.0
        """When the pool took it."""
        self.sent_s: float | None = None
        """Just before the first byte was handed to the socket; None if none was."""
        self.done_s = 0.0
        """When the answer was whole or the exchange had failed."""
        self.answer: Answer | None = None
        self.error: NetworkError | ProtocolError | None = None
        self.sent_bytes = 0
        """Head and body, as HTTP: what TLS adds is not counted."""
        self.received_bytes = 0
        self.reused = False
        """Whether the connection had carried another request before."""
        self.connection: Connection | None = None
        """The pool's own: what carries it, or is being opened for it."""
