"""The report of a batch run: its rate against the quota, what failed and why, its latencies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from batchkms.checks.estimate import less_reserve
from batchkms.latency import Latencies
from batchkms.options import BadValue
from batchkms.options.values import percentage, shard
from batchkms.reporting.batchfigures import MOST_ATTEMPTS, OK, BatchFigures
from batchkms.reporting.html.page import (
    Markup,
    Plot,
    figure,
    notes,
    page,
    section,
    table,
    text,
    tiles,
    verdict,
)
from batchkms.reporting.html.plots import count_axis, line, percentile_curve, time_axis
from batchkms.reporting.html.words import ms, rate_text, request_ids, setting, share, span

_POINTS = (50.0, 90.0, 99.0, 99.9)


def render_batch(figures: BatchFigures, title: str) -> str:
    """The report as one HTML file. Needs plotly (see `reporting.html.require_report`)."""
    rates = rate_plots(figures.manifest or {})
    others = [*_curves(figures), *_attempts(figures)]
    blocks = [
        _verdict(figures),
        notes([*figures.notes, *([] if rates or not figures.manifest else [_NO_TIMELINE])]),
        tiles(_tiles(figures)),
        section("Over time", _plots(rates)),
        section("Latency", _plots(others), _latencies(figures)),
        section("Failures", _classes(figures), _codes(figures)),
        section("Run", f'<div class="tables">\n{_run(figures)}\n{_settings(figures)}\n</div>'),
    ]
    return page(title=title, subtitle=_subtitle(figures), blocks=blocks, plots=[*rates, *others])


_NO_TIMELINE = "The manifest has no timeline, so that there is no rate over time."


def rate_plots(manifest: Mapping[str, Any]) -> list[Plot]:
    """Calls per second over time, from the timeline of a manifest; none if it has none."""
    segments = [each for each in manifest.get("timeline") or [] if each.get("windows")]
    if not segments:
        return []
    begins = [_moment(each["started_at"]) for each in segments]
    first = min(begin for begin in begins if begin is not None) if any(begins) else None
    names = ("calls", "ok", "failed", "throttled", "retries")
    x: list[float] = []
    y: dict[str, list[float | None]] = {name: [] for name in names}
    for segment, begin in zip(segments, begins, strict=True):
        offset_s = (begin - first).total_seconds() if begin and first else (x[-1] if x else 0.0)
        width_s = segment["window_s"]
        for window in segment["windows"]:
            covered_s = _covered_s(manifest, begin, window["t"], width_s)
            # What is less than half a window is too short for a rate.
            if covered_s < width_s / 2 and len(segment["windows"]) > 1:
                continue
            x.append(offset_s + window["t"] + width_s / 2)
            for name in names:
                y[name].append(window.get(name, 0) / covered_s)
        # Between two attempts nothing ran: the lines must not cross that.
        x.append(x[-1] if x else 0.0)
        for name in names:
            y[name].append(None)
    until_s = x[-1] + segments[-1]["window_s"] / 2
    quota = _quota(manifest, first, until_s)
    data = [
        *quota,
        line("calls", x, y["calls"], "--sent", unit="/s"),
        line("ok", x, y["ok"], "--ok", unit="/s"),
        *(
            line(name, x, y[name], color, unit="/s")
            for name, color in (
                ("failed", "--failed"),
                ("throttled", "--throttled"),
                ("retries", "--retries"),
            )
            if any(y[name])
        ),
    ]
    layout = {
        "xaxis": time_axis(until_s),
        "yaxis": count_axis("per second"),
        "hovermode": "x unified",
    }
    return [
        Plot(
            name="rate",
            title="Rate against the quota",
            meaning="Calls, rows that were done and what went wrong, per second"
            f"{'; dashed what the run was allowed to call' if quota else ''}.",
            data=data,
            layout=layout,
        )
    ]


def _covered_s(
    manifest: Mapping[str, Any], begin: datetime | None, at_s: float, width_s: float
) -> float:
    """How much of a window was before the end of the run, in seconds."""
    ended = _moment(manifest.get("ended_at"))
    if begin is None or ended is None:
        return width_s
    left_s = (ended - begin).total_seconds() - at_s
    return min(width_s, max(left_s, 0.1))


def _quota(
    manifest: Mapping[str, Any], first: datetime | None, until_s: float
) -> list[dict[str, Any]]:
    """The line of the rate that the run kept to, with each change of it."""
    settings = manifest.get("settings") or {}
    steps: list[tuple[float, float | None]] = [(0.0, allowed_rate(settings))]
    for change in manifest.get("changed") or []:
        at = _moment(change.get("at")) if isinstance(change, dict) else None
        if at is not None and first is not None and "calls_per_second" in change:
            if len(steps) == 1:
                # The settings are those of the last change; what was before is not noted.
                steps[0] = (0.0, None)
            steps.append(((at - first).total_seconds(), change["calls_per_second"]))
    if all(rate is None for _, rate in steps):
        return []
    x, y = [at for at, _ in steps], [rate for _, rate in steps]
    made = line("quota", [*x, until_s], [*y, y[-1]], "--asked", "dash", unit="/s", width=2.5)
    made["line"]["shape"] = "hv"
    return [made]


def allowed_rate(settings: Mapping[str, Any]) -> float | None:
    """Calls per second that settings allow; None without a limit, or if only the service knew."""
    rate, reserve = settings.get("rate"), settings.get("reserve")
    if isinstance(rate, bool) or not isinstance(rate, int):
        return None
    try:
        allowed = less_reserve(rate, percentage(str(reserve)))
    except BadValue:
        allowed = rate
    try:
        # A run of one share has its part of that.
        return allowed if allowed is None else shard(settings.get("shard")).part(allowed)
    except BadValue:
        return allowed


def _curves(figures: BatchFigures) -> list[Plot]:
    curves: dict[str, tuple[Latencies, str, str]] = {
        name: (latencies, f"--{name}", "solid" if name == OK else "dash")
        for name, latencies in sorted(figures.latencies.items(), key=lambda each: each[0] != OK)
    }
    return [percentile_curve(curves, "rows")] if curves else []


def _attempts(figures: BatchFigures) -> list[Plot]:
    if not figures.rows:
        return []
    numbers = range(max(figures.by_attempts) + 1)
    labels = [f"{n} and more" if n == MOST_ATTEMPTS else str(n) for n in numbers]
    bar = {
        "type": "bar",
        "name": "rows",
        "x": labels,
        "y": [figures.by_attempts[n] or None for n in numbers],
        "marker": {"color": "--sent"},
        "hovertemplate": "%{x} calls: %{y:,} rows<extra></extra>",
    }
    return [
        Plot(
            name="attempts",
            title="Calls per row",
            meaning="How many rows took how many calls, on a logarithmic axis; 0 was never sent.",
            data=[bar],
            layout={
                "xaxis": {"title": {"text": "calls for the row"}, "type": "category"},
                "yaxis": {
                    "title": {"text": "rows"},
                    "type": "log",
                    "dtick": 1,
                    "tickformat": ",~g",
                    # A single row is at zero of such an axis, and would have no height.
                    "range": [-0.3, max(1.0, len(str(figures.rows)))],
                },
                "bargap": 0.35,
            },
        )
    ]


def _verdict(figures: BatchFigures) -> str:
    if not figures.rows:
        return verdict("EMPTY", "open", "There is no row to tell anything of.")
    failed = figures.rows - figures.ok
    state = (figures.manifest or {}).get("state", "unknown")
    if state not in ("finished", "unknown"):
        return verdict(
            state.upper(), "open", f"{figures.ok:,} rows ok until now, {failed:,} failed."
        )
    if failed:
        sentence = f"{failed:,} of {figures.rows:,} rows failed ({share(failed, figures.rows)})."
        return verdict("SOME FAILED", "bad", sentence)
    return verdict("ALL OK", "good", f"Each of {figures.rows:,} rows was done.")


def _subtitle(figures: BatchFigures) -> str:
    if figures.manifest is None:
        return "Batch run"
    begun = _moment(figures.manifest.get("started_at"))
    when = f", begun {begun.strftime('%Y-%m-%d %H:%M:%S UTC')}" if begun else ""
    return f"batchkms {figures.manifest['command']} of {figures.manifest['input']['path']}{when}"


def _tiles(figures: BatchFigures) -> Iterator[tuple[str, str, str]]:
    counts = (figures.manifest or {}).get("counts") or {}
    calls = counts.get("calls", figures.calls)
    yield "Rows", f"{figures.rows:,}", f"{figures.ok:,} ok"
    failed = figures.rows - figures.ok
    yield "Failed", share(failed, figures.rows), f"{failed:,} rows"
    retries = counts.get("retries")
    again = f"{retries:,} retries" if retries is not None else "counted from the rows"
    throttled = f", {counts['throttled']:,} throttled" if "throttled" in counts else ""
    yield "Calls", f"{calls:,}", again + throttled
    seconds = wall_s(figures.manifest)
    if seconds is not None:
        allowed = allowed_rate((figures.manifest or {}).get("settings") or {})
        rate = rate_text(calls / seconds) if seconds > 1 else "–"
        quota = "calls per second" if allowed is None else f"of {rate_text(allowed)} allowed"
        if not (figures.manifest or {}).get("resumed"):
            yield "Rate", rate, quota
            yield "Duration", span(seconds), "from begin to end"
    latency = figures.latency
    if latency.total:
        p50, p99 = latency.percentiles_ms([50.0, 99.0])
        yield "Latency", ms(p50), f"p99 {ms(p99)}, max {ms(latency.max_ms)}"


def wall_s(manifest: Mapping[str, Any] | None) -> float | None:
    """From the begin of a run to its end, in seconds; None if the manifest does not tell."""
    begun = _moment((manifest or {}).get("started_at"))
    ended = _moment((manifest or {}).get("ended_at"))
    return max(0.0, (ended - begun).total_seconds()) if begun and ended else None


def _latencies(figures: BatchFigures) -> str:
    rows: list[tuple[str, ...]] = []
    parts = sorted(figures.latencies.items(), key=lambda each: each[0] != OK)
    every = [("all", figures.latency), *parts] if len(parts) > 1 else parts
    for name, latencies in every:
        values = [*latencies.percentiles_ms(_POINTS), latencies.max_ms, latencies.mean_ms]
        rows.append((name, f"{latencies.total:,}", *(f"{value:,.2f}" for value in values)))
    head = ("class", "rows", "p50", "p90", "p99", "p99.9", "max", "mean")
    return table("Latency of each row's last call, in ms", head, rows)


def _classes(figures: BatchFigures) -> str:
    if figures.rows == figures.ok:
        return "<p>No row failed.</p>" if figures.rows else ""
    rows = [
        (name, f"{count:,}", share(count, figures.rows))
        for name, count in figures.by_class.most_common()
        if count
    ]
    return table("Rows by class", ("class", "rows", "share"), rows)


def _codes(figures: BatchFigures) -> str:
    rows = [
        (
            Markup(f'<code class="long">{text(name)}</code>'),
            code.error_class,
            request_ids(code.request_ids),
            f"{code.rows:,}",
        )
        for name, code in sorted(figures.codes.items(), key=lambda each: -each[1].rows)
    ]
    head = ("code", "class", "examples of RequestIds", "rows")
    return table("Error codes", head, rows, words=3)


def _run(figures: BatchFigures) -> str:
    content = figures.manifest
    if content is None:
        return ""
    rows = [
        ("command", content["command"]),
        ("state", content["state"]),
        ("exit code", content.get("exit_code", "–")),
        ("input", content["input"]["path"]),
        ("output", content["output"]["path"]),
        ("begun", content.get("started_at", "–")),
        ("ended", content.get("ended_at", "–")),
        ("times resumed", f"{len(content.get('resumed', [])):,}"),
        ("times retried", f"{len(content.get('retried', [])):,}"),
        ("batchkms", content.get("batchkms", "–")),
    ]
    return table("What ran", ("figure", "value"), rows, words=2)


def _settings(figures: BatchFigures) -> str:
    settings = (figures.manifest or {}).get("settings") or {}
    rows = [(name.replace("_", "-"), setting(value)) for name, value in settings.items()]
    return table("How it was run", ("setting", "value"), rows, words=2)


def _plots(plots: Sequence[Plot]) -> str:
    inner = "\n".join(map(figure, plots))
    return f'<div class="plots">\n{inner}\n</div>' if plots else ""


def _moment(noted: object) -> datetime | None:
    """The time that a manifest notes; None if it is none."""
    try:
        moment = datetime.fromisoformat(noted) if isinstance(noted, str) else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo is not None else None
