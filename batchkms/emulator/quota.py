"""How many calls a second are let through: a strict sliding window per quota group.

Time is passed in, in seconds of any clock that never runs backwards.
"""

from __future__ import annotations

from collections import deque

WINDOW_S = 1.0


class SlidingWindow:
    """Lets at most `limit` calls through in any second.

    A call at time t is let through if fewer than `limit` were let through in (t - 1, t]. A
    refused call does not delay the next one, but it is counted in what the refusal says, as
    the service's messages do ("equals to `103` ... limit `100`").
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError("a quota must let at least one call through")
        self.limit = limit
        self._let_through: deque[float] = deque(maxlen=limit)
        self._refused: deque[float] = deque()

    def refusal(self, now_s: float) -> int:
        """0 if the call is let through, else the calls of the last second, this one included."""
        times = self._let_through
        if len(times) < self.limit or times[0] <= now_s - WINDOW_S:
            times.append(now_s)
            return 0
        _forget(self._refused, now_s)
        self._refused.append(now_s)
        return self.limit + len(self._refused)


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


class Quotas:
    """One window per quota group, made when the group is first called.

    `limits` gives the calls per second of each group; None lets everything through.
    """

    def __init__(self, limits: dict[str, int] | None) -> None:
        self._windows = {
            group: SlidingWindow(limit) for group, limit in (limits or {}).items()
        } or None

    def refusal(self, group: str, now_s: float) -> tuple[int, int] | None:
        """None if the call is let through, else the calls of the last second and the limit."""
        if self._windows is None:
            return None
        window = self._windows[group]
        calls = window.refusal(now_s)
        return (calls, window.limit) if calls else None
