"""How one signed request reaches the service and its answer comes back.

A transport has one method, `post`. There are two: our own over the connections in `http1`, which
load tests use directly, and aiohttp's, which goes through proxies; `transports` chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

import msgspec

T = TypeVar("T")


IDLE_CONNECTION_S = 30.0
"""How long an unused connection is kept. The server closes it after 60 s (tencentcloud-sdk-go
pull request 292), and a request must not race with that."""

MAX_ANSWER_BYTES = 1024 * 1024
"""The longest answer that is read: far over any KMS answer, far under what would hurt."""


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer, whatever its status."""

    status: int
    body: bytes


class Transport(Protocol):
    """Carries one request to the endpoint that it was made for."""

    async def post(
        self, headers: Mapping[str, str], body: bytes, accept: Callable[[Answer], T]
    ) -> T:
        """Sends a POST to `/`; what `accept` makes of the answer.

        `accept` is asked before the connection is used again. When it raises ProtocolError, the
        connection is closed: whatever spoke there may not be in step with what it was asked.
        Raises NetworkError when no whole answer came back, and ProtocolError when what came
        back is no HTTP or too long.
        """

    async def aclose(self) -> None:
        """Closes every connection."""
