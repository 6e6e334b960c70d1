"""What was called and how it ended: the figures behind `GET /_emulator/stats`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from batchkms.emulator.apierror import THROTTLED
from batchkms.emulator.quota import Peak


class ActionStats:
    """The calls of one action. `calls` is always `ok` plus the sum of `errors`."""

    def __init__(self) -> None:
        self.ok = 0
        self.errors: Counter[str] = Counter()
        self.let_through = Peak()

    def as_json(self) -> dict[str, Any]:
        """The figures; `throttled` is the part of `errors` that the quota refused."""
        return {
            "calls": self.ok + self.errors.total(),
            "ok": self.ok,
            "errors": dict(self.errors),
            "throttled": self.errors[THROTTLED],
            "peak_per_second": self.let_through.most,
        }


class Stats:
    """The calls of every action that the emulator knows.

    A call counts for the action that it names, whether or not it could be authenticated.
    Calls of unknown actions are not kept: anybody could make up names without end.
    """

    def __init__(self, actions: Iterable[str]) -> None:
        self.actions = {name: ActionStats() for name in actions}

    def ended(self, action: str, code: str | None) -> None:
        """A call has its answer; `code` is None for a success."""
        stats = self.actions.get(action)
        if stats is None:
            return
        if code is None:
            stats.ok += 1
        else:
            stats.errors[code] += 1

    def as_json(self) -> dict[str, Any]:
        """The answer of `GET /_emulator/stats`."""
        return {"actions": {name: stats.as_json() for name, stats in self.actions.items()}}
