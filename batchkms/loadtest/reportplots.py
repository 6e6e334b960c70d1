"""The plots of a load test: latency over time, percentiles, throughput, errors over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchkms.loadtest.call import OK
from batchkms.loadtest.statistics import Statistics
from batchkms.loadtest.timeline import Window
from batchkms.reporting.html.page import Plot
from batchkms.reporting.html.plots import (
    count_axis,
    latency_axis,
    line,
    percentile_curve,
    time_axis,
)

Windows = Sequence[tuple[float, Window]]


def plots_of(statistics: Statistics) -> list[Plot]:
    """The plots of a test with at least one call."""
    windows = statistics.timeline.windows()
    # Before the first scheduled call there is nothing but a warm-up, which is not counted.
    first = next((n for n, (_, window) in enumerate(windows) if window.asked), 0)
    windows = windows[first:]
    width_s = statistics.timeline.window_s
    made = [
        _latency(windows, width_s),
        percentile_curve(
            {
                "from schedule": (statistics.from_schedule, "--p99", "solid"),
                "from send": (statistics.from_send, "--send", "dash"),
            }
        ),
        _throughput(windows, width_s, statistics.last_done_s),
    ]
    if statistics.errors:
        made.append(_errors(windows, width_s))
    return made


def _latency(windows: Windows, width_s: int) -> Plot:
    times = [begin + width_s / 2 for begin, _ in windows]
    data = [
        line("max", times, _at(windows, 100.0), "--max", "dot", width=1.2),
        line("p99", times, _at(windows, 99.0), "--p99"),
        line("p90", times, _at(windows, 90.0), "--p90"),
        line("p50", times, _at(windows, 50.0), "--p50"),
        line("p99 from send", times, _at(windows, 99.0, from_send=True), "--send", "dash"),
    ]
    return Plot(
        name="latency",
        title="Latency over time",
        meaning="From when each call was due, where it was due; p99 from send, which is blind to "
        f"calls that waited to be sent, for comparison. {_windows_text(width_s)}",
        data=data,
        layout={
            "xaxis": _times(windows, width_s),
            "yaxis": latency_axis(data),
            "hovermode": "x unified",
        },
    )


def _throughput(windows: Windows, width_s: int, last_s: float) -> Plot:
    if len(windows) > 1 and last_s - windows[-1][0] < width_s / 2:
        # It is too short for a rate, and would look as if the server had broken down.
        windows = windows[:-1]
    times = [begin + width_s / 2 for begin, _ in windows]
    # The last window of a long run is seldom full, and its rate is that of what there is of it.
    widths = [min(float(width_s), max(1.0, last_s - begin)) for begin, _ in windows]
    rates = {
        "asked": [w.asked / s for (_, w), s in zip(windows, widths, strict=True)],
        "sent": [w.sent / s for (_, w), s in zip(windows, widths, strict=True)],
        "ok": [w.done[OK] / s for (_, w), s in zip(windows, widths, strict=True)],
    }
    data = [
        {**line("asked", times, rates["asked"], "--asked", "dash", unit="/s", width=3)},
        line("sent", times, rates["sent"], "--sent", unit="/s"),
        line("ok", times, rates["ok"], "--ok", unit="/s"),
    ]
    return Plot(
        name="throughput",
        title="Throughput against schedule",
        meaning="Calls per second that were due, that were sent, and that ended well. A last "
        "window that is not half full is left out. "
        f"{_windows_text(width_s)}",
        data=data,
        layout={
            "xaxis": _times(windows, width_s),
            "yaxis": count_axis("calls per second"),
            "hovermode": "x unified",
        },
    )


def _errors(windows: Windows, width_s: int) -> Plot:
    times = [begin + width_s / 2 for begin, _ in windows]
    names = sorted({name for _, window in windows for name in window.done} - {OK})
    data = [
        {
            "type": "bar",
            "name": name,
            "x": times,
            "y": [window.done[name] for _, window in windows],
            "width": width_s,
            "marker": {"color": f"--{name}", "line": {"width": 0}},
            "hovertemplate": f"{name}: %{{y:,}}<extra></extra>",
        }
        for name in names
    ]
    return Plot(
        name="errors",
        title="Errors over time",
        meaning=f"Calls that failed, by class, where they ended. {_windows_text(width_s)}",
        data=data,
        layout={
            "xaxis": _times(windows, width_s),
            "yaxis": count_axis("calls"),
            "barmode": "stack",
            "bargap": 0,
            "showlegend": True,
            "hovermode": "x unified",
        },
    )


def _at(windows: Windows, point: float, *, from_send: bool = False) -> list[float | None]:
    values: list[float | None] = []
    for _, window in windows:
        counted = window.from_send if from_send else window.from_schedule
        values.append(counted.percentile_ms(point) if counted.total else None)
    return values


def _times(windows: Windows, width_s: int) -> dict[str, Any]:
    return time_axis(windows[-1][0] + width_s, windows[0][0])


def _windows_text(width_s: int) -> str:
    return "Windows of a second." if width_s == 1 else f"Windows of {width_s} s."
