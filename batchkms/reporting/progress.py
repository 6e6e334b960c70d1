"""Progress on stderr: a live display on a terminal, a log line every ten seconds elsewhere."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from batchkms.tally import Tally

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

log = logging.getLogger(__name__)

DISPLAY_EVERY_S = 0.5
LOG_EVERY_S = 10.0
RATE_OVER_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Where a run stands. Rates in rows per second, times in seconds."""

    title: str
    done: int
    total: int | None
    """Rows in all, once the input was read to its end."""
    share: float | None
    """How much of the input is done, 0 to 1, where its size is known."""
    rate_now: float
    rate_average: float
    eta_s: float | None
    ok: int
    failed: dict[str, int]
    retries: int
    throttled: int
    queued: int
    in_flight: int
    outage: bool

    def line(self) -> str:
        """All of it in one line, for a log."""
        failures = ", ".join(f"{name} {count:,}" for name, count in self.failed.items())
        parts = [
            f"{self.done_text()} rows",
            f"{self.rate_now:,.0f}/s now, {self.rate_average:,.0f}/s average",
            f"ok {self.ok:,}",
            f"failed {sum(self.failed.values()):,}" + (f" ({failures})" if failures else ""),
            f"retries {self.retries:,}",
            f"throttled {self.throttled:,}",
            f"queue {self.queued:,}",
        ]
        if self.eta_s is not None:
            parts.append(f"ETA {clock_text(self.eta_s)}")
        if self.outage:
            parts.append("waiting for the service")
        return "; ".join(parts)

    def rendered(self) -> RenderableType:
        """The live display."""
        return rendered(self)

    def done_text(self) -> str:
        """Rows done of all rows, as far as known."""
        if self.total is not None:
            return f"{self.done:,}/{self.total:,}"
        return f"{self.done:,}" if self.share is None else f"{self.done:,} ({self.share:.0%})"


def share_done(tally: Tally, consumed: float | None) -> float | None:
    """The share of the input that is done, 0 to 1, where the share that was read is known."""
    if tally.exhausted:
        return tally.done / tally.rows if tally.rows else 1.0
    # Rows that were read but are not done yet count for nothing.
    return None if consumed is None or not tally.rows else consumed * tally.done / tally.rows


class Displayed(Protocol):
    """Where something stands, as it is told."""

    def line(self) -> str:
        """All of it in one line, for a log."""

    def rendered(self) -> RenderableType:
        """The same for a terminal."""


class Watched(Protocol):
    """What progress is shown of."""

    def snapshot(self) -> Displayed:
        """Where it stands now."""


class Meter:
    """Makes Snapshots of a run.

    `consumed` tells which share of the input was read (None if unknown), `queued` how many
    rows wait, `outage` whether the service is out.
    """

    def __init__(
        self,
        title: str,
        tally: Tally,
        *,
        consumed: Callable[[], float | None],
        queued: Callable[[], int],
        outage: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = title
        self._tally = tally
        self._consumed = consumed
        self._queued = queued
        self._outage = outage
        self._clock = clock
        self._began = clock()
        self._kept = tally.kept
        """Rows of an earlier run: done, but no work of this one."""
        self._past: deque[tuple[float, int]] = deque([(self._began, tally.done)])

    def snapshot(self) -> Snapshot:
        """Where the run stands now."""
        tally, now = self._tally, self._clock()
        self._past.append((now, tally.done))
        while len(self._past) > 2 and now - self._past[0][0] > RATE_OVER_S:
            self._past.popleft()
        since, before = self._past[0]
        rate_now = (tally.done - before) / (now - since) if now > since else 0.0
        elapsed = now - self._began
        average = (tally.done - self._kept) / elapsed if elapsed > 0 else 0.0
        share = share_done(tally, self._consumed())
        return Snapshot(
            title=self._title,
            done=tally.done,
            total=tally.rows if tally.exhausted else None,
            share=share,
            rate_now=rate_now,
            rate_average=average,
            eta_s=self._eta_s(share, average),
            ok=tally.ok,
            failed=dict(tally.by_class),
            retries=tally.retries,
            throttled=tally.throttled,
            queued=self._queued(),
            in_flight=tally.in_flight,
            outage=self._outage(),
        )

    def _eta_s(self, share: float | None, average: float) -> float | None:
        if not share or average <= 0:
            return None
        return self._tally.done * (1 / share - 1) / average


@asynccontextmanager
async def shown(meter: Watched, mode: Literal["auto", "always", "never"]) -> AsyncIterator[None]:
    """Shows progress on stderr while the block runs."""
    if mode == "never":
        yield
        return
    live = mode == "always" or (sys.stderr.isatty() and os.environ.get("TERM") != "dumb")
    task = asyncio.create_task(_shown(_display(meter) if live else _log(meter)))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _shown(display: Coroutine[None, None, None]) -> None:
    """A display that breaks, as when its terminal is closed, is nothing to the run.

    rich even leaves the whole program by SystemExit when the reader of stderr is gone.
    """
    with suppress(Exception, SystemExit):
        await display


async def _log(meter: Watched) -> None:
    while True:
        await asyncio.sleep(LOG_EVERY_S)
        log.info("%s", meter.snapshot().line())


async def _display(meter: Watched) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=sys.stderr, force_terminal=True)
    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False) as live:
        while True:
            live.update(meter.snapshot().rendered(), refresh=True)
            await asyncio.sleep(DISPLAY_EVERY_S)


def rendered(now: Snapshot) -> Group:
    """The live display."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    head = Table.grid(padding=(0, 2))
    bar = ProgressBar(
        total=1.0 if now.share is not None else None, completed=now.share or 0.0, width=30
    )
    eta = "ETA --" if now.eta_s is None else f"ETA {clock_text(now.eta_s)}"
    head.add_row(bar, f"{now.done_text()} rows", eta)
    rates = f"{now.rate_now:,.0f}/s now · {now.rate_average:,.0f}/s average"
    counts = Text.assemble(
        ("ok ", "green"), f"{now.ok:,}", " · ", ("failed ", "red"), f"{sum(now.failed.values()):,}"
    )
    for name, count in now.failed.items():
        counts.append(f" · {name} {count:,}", style="red")
    traffic = (
        f"retries {now.retries:,} · throttled {now.throttled:,} · "
        f"queue {now.queued:,} · in flight {now.in_flight:,}"
    )
    waiting = "nothing succeeds: waiting for the service" if now.outage else ""
    return Group(
        Text(now.title, style="bold"),
        head,
        Text(rates),
        counts,
        Text(traffic, style="dim"),
        *([Text(waiting, style="bold yellow")] if waiting else []),
    )


def clock_text(seconds: float) -> str:
    """A span of time as `0:07` or `27:46:40`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
