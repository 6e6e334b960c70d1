"""What plots of several reports have in common: lines, axes, the curve of percentiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from batchkms.latency import Latencies
from batchkms.reporting.html.page import Plot

_LOG_OVER = 30.0
"""The largest latency over the median from which a linear axis shows nothing but the former."""

_CURVE_STEPS = 40
"""Points of a percentile curve for each further nine."""

Numbers = Sequence[float | None]


def percentile_curve(
    curves: Mapping[str, tuple[Latencies, str, str]], calls: str = "calls"
) -> Plot:
    """Latency over 1/(1-p), as HdrHistogram plots it: each further nine has the same room.

    `curves` have a color and a dash each.
    """
    data = []
    most = 1.0
    for name, (latencies, color, dash) in curves.items():
        if latencies.total:
            x, y = _curve(latencies)
            most = max(most, x[-1])
            shares = [f"{100 * (1 - 1 / each):.6g}%" for each in x]
            data.append(line(name, x, y, color, dash, customdata=shares, hover="%{customdata}: "))
    nines = range(math.ceil(math.log10(most) + 1e-9) + 1)
    xaxis = {
        "type": "log",
        "title": {"text": f"share of {calls} that were as fast or faster"},
        "tickvals": [10**n for n in nines],
        "ticktext": [_share(n) for n in nines],
        "range": [0, max(1.0, math.log10(most) + 0.05)],
    }
    return Plot(
        name="percentiles",
        title="Percentiles of latency",
        meaning=f"At 99% stands the latency that 99 of 100 {calls} kept to.",
        data=data,
        layout={"xaxis": xaxis, "yaxis": latency_axis(data), "hovermode": "closest"},
    )


def line(
    name: str,
    x: Sequence[float | str],
    y: Numbers,
    color: str,
    dash: str = "solid",
    *,
    unit: str = "ms",
    width: float = 1.8,
    customdata: Sequence[str] | None = None,
    hover: str = "",
) -> dict[str, Any]:
    """One line of a plot. A value of None leaves a gap."""
    shown: dict[str, Any] = {
        "type": "scatter",
        # A single point would be no line, and not be seen.
        "mode": "lines" if len(x) > 1 else "markers",
        "name": name,
        "x": list(x),
        "y": list(y),
        "line": {"color": color, "width": width, "dash": dash},
        "marker": {"color": color, "size": 8},
        "hovertemplate": f"{name}: {hover}%{{y:,.4~g}} {unit}<extra></extra>",
    }
    if customdata is not None:
        shown["customdata"] = list(customdata)
    return shown


def time_axis(until_s: float, begin_s: float = 0.0) -> dict[str, Any]:
    """An axis of the seconds of a run."""
    return {"title": {"text": "seconds from the begin"}, "range": [begin_s, max(until_s, 1.0)]}


def count_axis(title: str) -> dict[str, Any]:
    """An axis of numbers that begins at zero."""
    return {"title": {"text": title}, "rangemode": "tozero", "separatethousands": True}


def latency_axis(data: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """An axis of milliseconds: logarithmic where a linear one would show only the slowest."""
    values = sorted(value for trace in data for value in trace["y"] if value)
    axis = {"title": {"text": "ms"}, "separatethousands": True}
    if values and values[0] > 0 and values[-1] > _LOG_OVER * values[len(values) // 2]:
        return {**axis, "type": "log", "dtick": 1, "tickformat": ",~g"}
    return {**axis, "rangemode": "tozero"}


def _curve(latencies: Latencies) -> tuple[list[float], list[float]]:
    nines = math.log10(max(2, latencies.total))
    steps = math.ceil(nines * _CURVE_STEPS)
    x = [10 ** (nines * step / steps) for step in range(steps + 1)]
    return x, latencies.percentiles_ms([100 * (1 - 1 / each) for each in x[:-1]] + [100.0])


def _share(nines: int) -> str:
    return "0%" if nines == 0 else f"{100 - 100 / 10**nines:.10g}%"
