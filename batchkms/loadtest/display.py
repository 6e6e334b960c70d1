"""What a terminal shows of a load test while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchkms.loadtest.call import OK
from batchkms.loadtest.loadtest import LoadTest
from batchkms.loadtest.timeline import Window
from batchkms.reporting.progress import clock_text

if TYPE_CHECKING:
    from rich.console import RenderableType

PLOTTED = 60
"""So many windows of the timeline are plotted, the last ones."""

NOW_OVER = 5
"""So many windows make up what is told to be now."""

_BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSnapshot:
    """Where a load test stands. Rates in calls per second, latencies in milliseconds."""

    title: str
    elapsed_s: float
    total_s: float | None
    asked_rate: float | None
    """None in the closed model."""
    rate_now: float
    calls: int
    failed: dict[str, int]
    p50_ms: float
    p99_ms: float
    max_ms: float
    send_p99_ms: float
    under_way: int
    connections: int
    lag_ms: float
    plot_ms: tuple[float, ...]
    """The 99th percentile of each of the last windows, from schedule."""
    window_s: int
    now_s: int
    """Of so many seconds, the last ones, are the rate and the latencies."""

    def line(self) -> str:
        """All of it in one line, for a log."""
        failures = ", ".join(f"{name} {count:,}" for name, count in self.failed.items())
        return "; ".join(
            [
                self._time_text(),
                self._rate_text(),
                f"calls {self.calls:,}",
                f"failed {sum(self.failed.values()):,}" + (f" ({failures})" if failures else ""),
                self._latency_text(),
                f"under way {self.under_way:,} on {self.connections:,} connections",
                f"lag {self.lag_ms:.1f} ms",
            ]
        )

    def rendered(self) -> RenderableType:
        """The same for a terminal, with a plot of the latency."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        head = Table.grid(padding=(0, 2))
        share = None if self.total_s is None else min(1.0, self.elapsed_s / self.total_s)
        bar = ProgressBar(total=None if share is None else 1.0, completed=share or 0.0, width=30)
        head.add_row(bar, self._time_text(), self._rate_text())
        counts = Text.assemble(
            ("ok ", "green"),
            f"{self.calls - sum(self.failed.values()):,}",
            " · ",
            ("failed ", "red"),
            f"{sum(self.failed.values()):,}",
        )
        for name, count in self.failed.items():
            counts.append(f" · {name} {count:,}", style="red")
        most_ms = max(self.plot_ms, default=0.0)
        plot = Text.assemble(
            ("p99 ", "dim"), (sparkline(self.plot_ms), "cyan"), (f" up to {most_ms:,.1f} ms", "dim")
        )
        if self.window_s > 1:
            plot.append(f", {self.window_s} s each", style="dim")
        traffic = (
            f"under way {self.under_way:,} · connections {self.connections:,} · "
            f"generator lag {self.lag_ms:.1f} ms"
        )
        title = Text(self.title, style="bold")
        return Group(title, head, counts, Text(self._latency_text()), plot, Text(traffic, "dim"))

    def _time_text(self) -> str:
        total = "" if self.total_s is None else f"/{clock_text(self.total_s)}"
        return f"{clock_text(self.elapsed_s)}{total}"

    def _rate_text(self) -> str:
        asked = "" if self.asked_rate is None else f", {self.asked_rate:,.0f}/s asked now"
        return f"{self.rate_now:,.0f}/s sent{asked}"

    def _latency_text(self) -> str:
        return (
            f"last {self.now_s} s: p50 {self.p50_ms:,.1f} · p99 {self.p99_ms:,.1f} · "
            f"max {self.max_ms:,.1f} ms from schedule · p99 {self.send_p99_ms:,.1f} ms from send"
        )


class LoadMeter:
    """Makes snapshots of a load test."""

    def __init__(self, title: str, test: LoadTest) -> None:
        self._title = title
        self._test = test
        # Of windows that are over. To sort them all each time takes longer than a call may wait.
        self._known: dict[float, tuple[int, float]] = {}

    def snapshot(self) -> LoadSnapshot:
        """Where it stands now; latencies are those of the last seconds."""
        test, statistics = self._test, self._test.statistics
        window_s = statistics.timeline.window_s
        # What is due in the window that is going on has hardly ended yet.
        last = statistics.timeline.last(PLOTTED)
        windows = [window for _, window in last]
        recent = Window()
        for window in windows[-NOW_OVER:]:
            recent.add(window)
        return LoadSnapshot(
            title=self._title,
            elapsed_s=test.elapsed_s,
            total_s=test.total_s,
            asked_rate=test.asked_rate_now,
            rate_now=_whole_rate(windows[:-1][-NOW_OVER:], window_s),
            calls=statistics.calls,
            failed={name: count for name, count in statistics.by_class.items() if name != OK},
            p50_ms=recent.from_schedule.percentile_ms(50),
            p99_ms=recent.from_schedule.percentile_ms(99),
            max_ms=recent.from_schedule.max_us / 1000,
            send_p99_ms=recent.from_send.percentile_ms(99),
            under_way=test.caller.under_way,
            connections=test.caller.open_connections,
            lag_ms=test.caller.lag_now_s * 1000,
            plot_ms=self._plot_ms(last),
            window_s=window_s,
            now_s=window_s * min(NOW_OVER, len(windows)),
        )

    def _plot_ms(self, windows: Sequence[tuple[float, Window]]) -> tuple[float, ...]:
        before, self._known = self._known, {}
        for begin_s, window in windows:
            known = before.get(begin_s)
            if known is None or known[0] != window.asked:
                known = window.asked, window.from_schedule.percentile_ms(99)
            self._known[begin_s] = known
        return tuple(p99_ms for _, p99_ms in self._known.values())


def _whole_rate(windows: list[Window], window_s: int) -> float:
    """Calls that were sent per second of these windows, which are over."""
    return sum(window.sent for window in windows) / (len(windows) * window_s) if windows else 0.0


def sparkline(values: tuple[float, ...]) -> str:
    """One block for each value, as high as its share of the largest; a space for none at all."""
    most = max(values, default=0.0)
    if most <= 0:
        return " " * len(values)
    top = len(_BLOCKS) - 1
    return "".join(_BLOCKS[round(value / most * top)] if value else " " for value in values)
