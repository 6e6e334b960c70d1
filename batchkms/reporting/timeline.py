"""How a run went over time, for its manifest: counts in windows that grow as it goes on.

A window is one second at first. Whenever there would be too many, two neighbors become one and
the window is twice as long, so that a run of any length takes the same room.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from batchkms.tally import Tally

COUNTED = ("calls", "ok", "failed", "throttled", "retries")
"""The counters of a Tally that a window holds: how much they grew in it."""

MOST_WINDOWS = 600
"""Of one segment; all earlier segments together have no more either."""

MOST_SEGMENTS = 100
"""A run that was resumed more often has lost the oldest ones."""

SAMPLE_EVERY_S = 1.0

_AFTER_S = 0.005
"""So long after the end of a window it is sampled: timers come early by a millisecond."""

Segment = dict[str, Any]
"""`started_at`, `window_s`, and `windows`: each has `t`, its begin in seconds since then, and the
counts of COUNTED."""


class Windows:
    """The windows of one segment. Pure: time is passed in, in seconds since its begin."""

    def __init__(self, window_s: int = 1) -> None:
        self.window_s = window_s
        self._counts: list[Sequence[int]] = []

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, at_s: float, counts: Sequence[int]) -> None:
        """Counts what came at this time."""
        while (index := int(at_s // self.window_s)) >= MOST_WINDOWS:
            self.merge()
        self._counts += [_NOTHING] * (index + 1 - len(self._counts))
        self._counts[index] = _sum(self._counts[index], counts)

    def merge(self) -> None:
        """Makes one window of each two."""
        evens, odds = self._counts[::2], [*self._counts[1::2], _NOTHING]
        self._counts = [_sum(even, odd) for even, odd in zip(evens, odds, strict=False)]
        self.window_s *= 2

    def as_json(self) -> list[dict[str, int]]:
        """Every window from the begin on, also where nothing came."""
        return [
            {"t": index * self.window_s, **dict(zip(COUNTED, counts, strict=True))}
            for index, counts in enumerate(self._counts)
        ]


_NOTHING: Sequence[int] = (0,) * len(COUNTED)


def _sum(one: Sequence[int], other: Sequence[int]) -> Sequence[int]:
    return tuple(a + b for a, b in zip(one, other, strict=True))


class Timeline:
    """The segments of a run: `earlier` ones, as its manifest has them, and that of this attempt.

    The last one begins with `begin`, which an attempt that comes to nothing never calls.
    """

    def __init__(self, tally: Tally, *, earlier: Iterable[Segment] = ()) -> None:
        self._tally = tally
        self._earlier = shortened(earlier)
        self._windows = Windows()
        self._started_at: str | None = None
        self._began_s = self._sampled_s = 0.0
        self._counts: Sequence[int] = _NOTHING

    def begin(self, now_s: float) -> None:
        """Begins this attempt's segment; times are those of any one clock."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._started_at = at.replace("+00:00", "Z")
        self._began_s = self._sampled_s = now_s
        self._counts = self._counted()

    def sample(self, now_s: float) -> None:
        """Counts what came since the last time into the window that was open then.

        A loop that is late for its samples has done nothing else in the time.
        """
        # A call that came to nothing is taken back: a window never holds less than nothing.
        counts = tuple(map(max, self._counted(), self._counts))
        grown = [now - before for now, before in zip(counts, self._counts, strict=True)]
        self._windows.add(self._sampled_s - self._began_s, grown)
        self._sampled_s, self._counts = now_s, counts

    def segments(self) -> list[Segment]:
        """All of it as it is now, for the manifest."""
        if self._started_at is None:
            return [*self._earlier]
        return [*self._earlier, _segment(self._started_at, self._windows)]

    def due_s(self, now_s: float) -> float:
        """How long it is until the next sample."""
        elapsed_s = now_s - self._began_s
        return SAMPLE_EVERY_S - elapsed_s % SAMPLE_EVERY_S + _AFTER_S

    def _counted(self) -> Sequence[int]:
        return tuple(getattr(self._tally, name) for name in COUNTED)


def shortened(segments: Iterable[Segment]) -> list[Segment]:
    """The segments with MOST_WINDOWS windows at the most, and room for another segment."""
    kept = [*segments][1 - MOST_SEGMENTS :]
    windows = [_windows(segment) for segment in kept]
    while sum(map(len, windows)) > MOST_WINDOWS:
        max(windows, key=len).merge()
    return [_segment(old["started_at"], new) for old, new in zip(kept, windows, strict=True)]


def together(runs: Iterable[Iterable[Segment]]) -> list[Segment]:
    """One segment of several runs that went on side by side, by the clocks of their machines.

    Empty where nothing was noted, or where a time cannot be read.
    """
    segments = [segment for run in runs for segment in run if segment["windows"]]
    try:
        begins = [datetime.fromisoformat(segment["started_at"]) for segment in segments]
        first = min(begins)
        offsets_s = [(begin - first).total_seconds() for begin in begins]
    except (ValueError, TypeError):
        return []
    windows = Windows(max(segment["window_s"] for segment in segments))
    for segment, offset_s in zip(segments, offsets_s, strict=True):
        each: Mapping[str, int]
        for each in segment["windows"]:
            windows.add(offset_s + each["t"], [each[name] for name in COUNTED])
    return [_segment(segments[begins.index(first)]["started_at"], windows)]


def _windows(segment: Segment) -> Windows:
    windows = Windows(segment["window_s"])
    each: Mapping[str, int]
    for each in segment["windows"]:
        windows.add(each["t"], [each[name] for name in COUNTED])
    return windows


def _segment(started_at: str, windows: Windows) -> Segment:
    return {
        "started_at": started_at,
        "window_s": windows.window_s,
        "windows": windows.as_json(),
    }


@asynccontextmanager
async def recorded(timeline: Timeline) -> AsyncIterator[None]:
    """Samples a run once a second while the block runs, and once at the end."""
    clock = asyncio.get_running_loop().time
    timeline.begin(clock())
    task = asyncio.create_task(_record(timeline))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        timeline.sample(clock())


async def _record(timeline: Timeline) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(timeline.due_s(clock()))
        timeline.sample(clock())
