"""How one signed request reaches the service and its answer comes back.

A transport has one method, `post`. The one that is used is in `aiohttptransport`: aiohttp takes
longer to load than all else, and most of what names a transport never sends anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whatever its status."""

    status: int
    body: bytes


class Transport(Protocol):
    """Carries one request to the endpoint that it was made for."""

    async def post(self, headers: dict[str, str], body: bytes, accept: Callable[[Answer], T]) -> T:
        """Sends a POST to `/`; what `accept` makes of the answer.

        `accept` is asked before the connection is used again. When it raises ProtocolError, the
        connection is closed: whatever spoke there may not be in step with what it was asked.
        Raises NetworkError when no whole answer came back, and ProtocolError when what came
        back is no HTTP or too long.
        """

    async def aclose(self) -> None:
        """Closes every connection."""
