"""One request and what became of it: what is handed to a pool and comes back by a callback."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from batchkms.errors import NetworkError, ProtocolError
from batchkms.kms.transport import Answer

if TYPE_CHECKING:
    from batchkms.kms.http1.connection import Connection


class Carried(ABC):
    """One request and its answer, or the error that came instead: exactly one of them.

    Times are in seconds of `time.monotonic()`. That is the clock of the event loop's `time()`,
    which uvloop gives in whole milliseconds, and as they were when the loop last woke up.
    """

    __slots__ = (
        "answer",
        "begun_s",
        "connection",
        "done_s",
        "error",
        "received_bytes",
        "reused",
        "sent_bytes",
        "sent_s",
    )

    def __init__(self) -> None:
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

    def reset(self) -> None:
        """Forgets how it ended, so that it can be started once more."""
        Carried.__init__(self)

    @abstractmethod
    def to_send(self) -> bytes:
        """The whole request, head and body.

        Asked for when a connection is ready to carry it, so that a signature in it is fresh.
        """

    @abstractmethod
    def ended(self) -> bool:
        """It has an answer or an error now; whether the connection may be used again.

        Called once, before it is. An exception out of this or of `to_send` is a defect: the event
        loop's exception handler gets it, and the connection is closed.
        """
