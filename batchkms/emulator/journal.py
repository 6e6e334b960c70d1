"""The last calls and how they ended: what `GET /_emulator/requests` tells.

Nothing that a caller made up is kept as it is: a secret may have been put in the wrong place.
Actions, secret ids and key ids are shown only if they are known ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

KEPT_CALLS = 1000


class Entry(msgspec.Struct, frozen=True):
    """One call. `time_s` is a Unix time; `code` is None for a success."""

    time_s: float
    action: str
    key_id: str
    secret_id: str
    code: str | None
    request_id: str
    latency_s: float


class Journal:
    """The last calls, in the order of their answers."""

    def __init__(self, *, size: int = KEPT_CALLS) -> None:
        self._entries: deque[Entry] = deque(maxlen=size)

    def add(self, entry: Entry) -> None:
        """A call has its answer."""
        self._entries.append(entry)

    def clear(self) -> None:
        """Forgets every call."""
        self._entries.clear()

    def as_json(
        self, *, knows_action: Callable[[str], bool], knows_key: Callable[[str], bool]
    ) -> dict[str, Any]:
        """The calls, the last one at the end."""
        return {
            "requests": [
                {
                    "time": entry.time_s,
                    "action": entry.action if knows_action(entry.action) else None,
                    "key_id": entry.key_id if knows_key(entry.key_id) else None,
                    "secret_id": entry.secret_id or None,
                    "code": entry.code,
                    "request_id": entry.request_id,
                    "latency_ms": round(entry.latency_s * 1000, 3),
                }
                for entry in self._entries
            ]
        }
