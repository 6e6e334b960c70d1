"""How many calls a second are let through, per account, region and quota group.

Time is passed in, in seconds of any clock that never runs backwards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

WINDOW_S = 1.0


class Window(Protocol):
    """Counts the calls of one quota. `limit` may be changed at any time."""

    limit: int

    def refusal(self, now_s: float) -> int:
        """0 if the call is let through, else the calls of the last second, this one included."""


class SlidingWindow:
    """Lets at most `limit` calls through in any second.

    A call at time t is let through if fewer than `limit` were let through in (t - 1, t]. A
    refused call does not delay the next one, but it is counted in what the refusal says, as
    the service's messages do ("equals to `103` ... limit `100`").
    """

    def __init__(self, limit: int) -> None:
        self.limit = _checked(limit)
        self._let_through: deque[float] = deque()
        self._refused: deque[float] = deque()

    def refusal(self, now_s: float) -> int:
        """0 if the call is let through, else the calls of the last second, this one included."""
        times = self._let_through
        while times and times[0] <= now_s - WINDOW_S:
            times.popleft()
        if len(times) < self.limit:
            times.append(now_s)
            return 0
        _forget(self._refused, now_s)
        self._refused.append(now_s)
        return len(times) + len(self._refused)


class FixedWindow:
    """Lets `limit` calls through in every whole second of the clock, refused ones counted too.

    So a burst across the turn of a second may pass with twice the limit. The messages that
    people quote suggest that the service counts so (kept: "equals to `103`", limit `100`).
    """

    def __init__(self, limit: int) -> None:
        self.limit = _checked(limit)
        self._second = -1
        self._calls = 0

    def refusal(self, now_s: float) -> int:
        """0 if the call is let through, else the calls of this second, this one included."""
        second = int(now_s // WINDOW_S)
        if second != self._second:
            self._second, self._calls = second, 0
        self._calls += 1
        return self._calls if self._calls > self.limit else 0


WINDOWS: Mapping[str, Callable[[int], Window]] = {"sliding": SlidingWindow, "fixed": FixedWindow}
"""The kinds of windows, by the names that `--rate-window` takes."""


def _checked(limit: int) -> int:
    if limit < 1:
        raise ValueError("a quota must let at least one call through")
    return limit


class Peak:
    """The most events that any sliding second has held."""

    def __init__(self) -> None:
        self.most = 0
        self._times: deque[float] = deque()

    def add(self, now_s: float) -> None:
        """One event now."""
        _forget(self._times, now_s)
        self._times.append(now_s)
        self.most = max(self.most, len(self._times))


def _forget(times: deque[float], now_s: float) -> None:
    """Drops what lies outside the second that ends now."""
    while times and times[0] <= now_s - WINDOW_S:
        times.popleft()


MakeWindow = Callable[[tuple[str, str, str], int], Window]
"""Makes the window of an account, region and group."""


class Quotas:
    """One window per account, region and quota group, made when it is first called.

    `limits` gives the calls per second of each group; a group that is not in it, and every
    group where it is None, lets everything through.
    """

    def __init__(self, limits: Mapping[str, int] | None, *, make: MakeWindow | None = None) -> None:
        self._at_start = dict(limits or {})
        self._make = make or (lambda name, limit: SlidingWindow(limit))
        self.reset()

    def reset(self) -> None:
        """Back to the limits of the start, with no call counted."""
        self._limits = dict(self._at_start)
        self._windows: dict[tuple[str, str, str], Window] = {}
        self._lasting: dict[str, tuple[float, int | None]] = {}

    def limit(self, group: str) -> int | None:
        """The calls a second that a group has now; None for no limit."""
        return self._limits.get(group)

    def refusal(
        self, group: str, now_s: float, *, account: str = "", region: str = ""
    ) -> tuple[int, int] | None:
        """None if the call is let through, else the calls of the last second and the limit."""
        if self._lasting:
            self._end_changes(now_s)
        limit = self._limits.get(group)
        if limit is None:
            return None
        name = (account, region, group)
        window = self._windows.get(name)
        if window is None:
            window = self._windows[name] = self._make(name, limit)
        window.limit = limit
        calls = window.refusal(now_s)
        return (calls, limit) if calls else None

    def change(
        self, group: str, limit: int | None, now_s: float, *, for_s: float | None = None
    ) -> None:
        """Gives a group another limit, for good or for a time, after which the old one is back."""
        _, before = self._lasting.pop(group, (0.0, self._limits.get(group)))
        if for_s is not None:
            self._lasting[group] = (now_s + for_s, before)
        self._set(group, limit)

    def _end_changes(self, now_s: float) -> None:
        over = [group for group, (until_s, _) in self._lasting.items() if now_s >= until_s]
        for group in over:
            self._set(group, self._lasting.pop(group)[1])

    def _set(self, group: str, limit: int | None) -> None:
        if limit is None:
            self._limits.pop(group, None)
        else:
            self._limits[group] = _checked(limit)
