"""The report of a load test: the verdict first, then what it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from batchkms.errors import BadValue
from batchkms.latency import Latencies
from batchkms.loadtest.reportplots import plots_of
from batchkms.loadtest.runrecord import MaxRateRecord, RunRecord, StageRecord
from batchkms.loadtest.slo import parse_slo
from batchkms.loadtest.statistics import Statistics
from batchkms.reporting.html.page import (
    Markup,
    badge,
    figure,
    notes,
    page,
    section,
    table,
    text,
    tiles,
    verdict,
)
from batchkms.reporting.html.words import (
    bytes_text,
    ms,
    rate_text,
    request_ids,
    setting,
    share,
    span,
)

_POINTS = (50.0, 90.0, 99.0, 99.9)
_HEAD = ("p50", "p90", "p99", "p99.9", "max", "mean")

_MOST_ROWS = 200
_MOST_STAGES = 8
_FOUND = [name for name in MaxRateRecord.__struct_fields__ if name != "steps"]
_OF_STEPS = {
    "rate": "calls/s asked",
    "asked_s": "for s",
    "took_s": "until all had ended, s",
    "held": "held",
    "valid": "valid",
    "calls": "calls",
    "errors": "errors",
    "measured": "measured",
    "goodput": "ok/s where it was too much",
}
"""What is shown of a step of a search, by its names in a record."""


def render_loadtest(
    statistics: Statistics,
    records: Sequence[RunRecord],
    title: str,
    *,
    names: Sequence[str] = (),
    remarks: Sequence[str] = (),
) -> str:
    """The report as one HTML file. Needs plotly (see `reporting.html.require_report`).

    `records` are those of each generator, `names` what to call them where there are several;
    `remarks` are sentences that must be known with the figures.
    """
    known = [*names] if len(names) == len(records) else []
    called = known or [f"generator {number}" for number in range(1, len(records) + 1)]
    plots = plots_of(statistics) if statistics.calls else []
    blocks = [
        _verdict(statistics, records, called),
        notes([*remarks, *_remarks(records, called)]),
        tiles(_tiles(statistics, records)),
        section("SLOs", _slos(records, called)),
        section("Highest rate", _max_rate(records, called), *_steps(records, called)),
        section("Over time", _plots([figure(plot) for plot in plots])),
        section("Latency", *_latencies(statistics)),
        section("Errors", _classes(statistics), _codes(statistics)),
        section("Calls, generator and settings", *_details(statistics, records, called)),
    ]
    return page(title=title, subtitle=_subtitle(records), blocks=blocks, plots=plots)


def _verdict(statistics: Statistics, records: Sequence[RunRecord], called: Sequence[str]) -> str:
    reasons = [
        reason if len(records) == 1 else f"{name}: {reason}"
        for record, name in zip(records, called, strict=True)
        for reason in record.invalid
    ]
    if reasons:
        return verdict("INVALID", "bad", "These figures are not the server's:", reasons)
    if not statistics.calls:
        return verdict("EMPTY", "open", "There is no call to tell anything of.")
    if not records:
        return verdict("UNKNOWN", "open", "No record says whether the generator kept up.")
    failed = [slo.text for record in records for slo in record.slos if not slo.held]
    if failed:
        sentence = "The generator kept up, but these SLOs failed:"
        return verdict("VALID, SLO FAILED", "bad", sentence, failed)
    early = sorted({record.state for record in records} - {"finished"})
    if early:
        sentence = f"The generator kept up; the test was {early[0]} before its end."
        return verdict("VALID", "open", sentence)
    held = " Every SLO was held." if any(record.slos for record in records) else ""
    return verdict("VALID", "good", f"The generator did what was asked of it.{held}")


def _remarks(records: Sequence[RunRecord], called: Sequence[str]) -> Iterator[str]:
    for record, name in zip(records, called, strict=True):
        for note in record.notes:
            yield note if len(records) == 1 else f"{name}: {note}"


def _subtitle(records: Sequence[RunRecord]) -> str:
    if not records:
        return "Load test"
    first = min(records, key=lambda record: record.started_at)
    begun = datetime.fromtimestamp(first.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    ends = ", ".join(dict.fromkeys(record.endpoint for record in records))
    several = f", {len(records)} generators" if len(records) > 1 else ""
    return f"Load test of {ends}, begun {begun}{several}"


def _tiles(statistics: Statistics, records: Sequence[RunRecord]) -> Iterator[tuple[str, str, str]]:
    from_schedule, from_send = statistics.from_schedule, statistics.from_send
    target = target_rate(statistics, records)
    asked = "calls per second" if target is None else f"of {rate_text(target)} asked"
    begun = 0.0 if statistics.calls == 0 else statistics.first_scheduled_s
    yield "Calls", f"{statistics.calls:,}", f"in {span(statistics.last_done_s - begun)}"
    yield "Sent", rate_text(statistics.sent_rate) if statistics.sent_rate else "–", asked
    yield "Errors", share(statistics.errors, statistics.calls), f"{statistics.errors:,} calls"
    if not statistics.calls:
        return
    for name, point in (("p50", 50.0), ("p99", 99.0)):
        sent = f"{ms(from_send.percentile_ms(point))} from send"
        yield f"{name} from schedule", ms(from_schedule.percentile_ms(point)), sent
    yield "Slowest", ms(from_schedule.max_ms), f"{ms(from_send.max_ms)} from send"


def target_rate(statistics: Statistics, records: Sequence[RunRecord]) -> float | None:
    """What all generators together were asked for; None if that is not known of every one.

    Several begin and end at times of their own: over all of that time they are asked for less
    than the sum of their rates.
    """
    if not records or any(record.target_rate is None for record in records):
        return None
    return records[0].target_rate if len(records) == 1 else statistics.due_rate


def _slos(records: Sequence[RunRecord], called: Sequence[str]) -> str:
    rows = []
    for record, name in zip(records, called, strict=True):
        for slo in record.slos:
            outcome = badge("held", "good") if slo.held else badge("failed", "bad")
            windows = (
                f"{len(slo.failed_windows):,} of {slo.windows:,} windows" if slo.windows else "–"
            )
            begins = ", ".join(f"{begin:g} s" for begin in slo.failed_windows[:10])
            more = ", …" if len(slo.failed_windows) > 10 else ""
            measured = _measured(slo.text, slo.measured)
            rows.append(
                (slo.text, *_by(name, records), outcome, measured, windows, begins + more or "–")
            )
    head = ("SLO", *_by("generator", records), "outcome", "measured", "broken", "broken from")
    shown = _capped(rows, len(head))
    return table("What was asked for and what came of it", head, shown, words=len(head))


def _capped(rows: Sequence[Sequence[object]], columns: int) -> list[Sequence[object]]:
    """The first of many rows, and how many more there are."""
    left = len(rows) - _MOST_ROWS
    more = [[f"… {left:,} more", *[""] * (columns - 1)]] if left > 0 else []
    return [*rows[:_MOST_ROWS], *more]


def _by(name: str, records: Sequence[RunRecord]) -> list[str]:
    """A column that says which generator a row is of, where there are several."""
    return [name] if len(records) > 1 else []


def _measured(slo: str, value: float) -> str:
    if slo.endswith("%"):
        return f"{value * 100:.4g}%"
    if slo.endswith("s") and not slo.endswith("/s"):
        return ms(value)
    return f"{value:,.4g}" if value < 10_000 else f"{value:,.0f}"


def _max_rate(records: Sequence[RunRecord], called: Sequence[str]) -> str:
    rows = [
        (str(key).replace("_", " "), *_by(name, records), setting(value))
        for record, name in zip(records, called, strict=True)
        for key, value in (record.max_rate or {}).items()
        if key in _FOUND
    ]
    head = ("figure", *_by("generator", records), "found")
    return table("What the search for it found", head, rows, words=len(head))


def _steps(records: Sequence[RunRecord], called: Sequence[str]) -> Iterator[str]:
    """The steps of the search, each with whatever was kept of it."""
    for record, name in zip(records, called, strict=True):
        steps = (record.max_rate or {}).get("steps")
        if isinstance(steps, list) and steps and all(isinstance(each, dict) for each in steps):
            names = [key for key in _OF_STEPS if any(key in step for step in steps)]
            if not names:
                continue
            caption = "Its steps" if len(records) == 1 else f"The steps of {name}"
            head = [_OF_STEPS[key] for key in names]
            shown = steps[:_MOST_ROWS]
            rows = [[_of_step(key, step.get(key)) for key in names] for step in shown]
            rows += [[""] * len(names)] * (len(steps) - len(shown))
            yield table(caption, head, _capped(rows, len(head)), words=len(head))


def _of_step(key: str, value: Any) -> str:
    if key == "measured" and isinstance(value, dict):
        return ", ".join(
            _measured_in_step(slo, each) for slo, each in list(value.items())[:_MOST_STAGES]
        )
    if isinstance(value, float):
        value = round(value, 1)
    return setting(value)[:500]


def _measured_in_step(slo: str, value: Any) -> str:
    try:
        written = parse_slo(slo).written(float(value))
    except (BadValue, TypeError, ValueError):
        written = setting(value)
    return f"{slo}: {written}"[:200]


def _plots(figures: Sequence[str]) -> str:
    return f'<div class="plots">\n{chr(10).join(figures)}\n</div>' if figures else ""


def _details(
    statistics: Statistics, records: Sequence[RunRecord], called: Sequence[str]
) -> Iterator[str]:
    small = [_figures(statistics), _generators(records, called)]
    settings = _settings(records, called)
    # Those of several generators need the whole width.
    yield _side_by_side(*small, *([settings] if len(records) == 1 else []))
    yield settings if len(records) > 1 else ""


def _side_by_side(*tables: str) -> str:
    there = [each for each in tables if each]
    return f'<div class="tables">\n{chr(10).join(there)}\n</div>' if there else ""


def _latencies(statistics: Statistics) -> Iterator[str]:
    if not statistics.calls:
        return
    for kind, caption in (
        ("from_schedule", "From schedule, in ms: as it is for whoever asks at that rate"),
        ("from_send", "From send, in ms: without the time that calls waited to be sent"),
    ):
        rows: list[tuple[object, ...]] = [("all", "all", *_points(getattr(statistics, kind)))]
        for (action, outcome), each in sorted(statistics.outcomes.items()):
            if getattr(each, kind).total:
                rows.append((action, outcome, *_points(getattr(each, kind))))
        # With a single action and class, the second row would repeat the first one.
        if len(rows) == 2:
            rows = rows[1:]
        yield table(caption, ("action", "class", "calls", *_HEAD), rows, words=2)


def _points(latencies: Latencies) -> tuple[str, ...]:
    values = [*latencies.percentiles_ms(_POINTS), latencies.max_ms, latencies.mean_ms]
    return (f"{latencies.total:,}", *(f"{value:,.2f}" for value in values))


def _classes(statistics: Statistics) -> str:
    if not statistics.errors:
        return "<p>No call failed.</p>" if statistics.calls else ""
    rows = [
        (name, f"{calls:,}", share(calls, statistics.calls))
        for name, calls in statistics.by_class.most_common()
        if calls
    ]
    return table("Calls by class", ("class", "calls", "share"), rows)


def _codes(statistics: Statistics) -> str:
    rows = [
        (
            Markup(f'<code class="long">{text(code)}</code>'),
            failure.error_class,
            request_ids(failure.request_ids),
            f"{failure.calls:,}",
            f"{failure.first_s:,.1f} s",
        )
        for code, failure in sorted(statistics.failures.items(), key=lambda each: -each[1].calls)
    ]
    head = ("code", "class", "examples of RequestIds", "calls", "first at")
    return table("Error codes", head, rows, words=3)


def _figures(statistics: Statistics) -> str:
    if not statistics.calls:
        return ""
    rows = [
        ("calls", f"{statistics.calls:,}"),
        ("of them ok", f"{statistics.ok:,}"),
        ("sent per second", f"{statistics.sent_rate:,.2f}"),
        ("ok per second", f"{statistics.ok_rate:,.2f}"),
        ("never sent", f"{statistics.never_sent:,}"),
        ("retries", f"{statistics.retries:,}"),
        ("calls of the warm-up, left out", f"{statistics.warmup_calls:,}"),
        ("requests and answers", bytes_text(statistics.bytes)),
    ]
    return table("Calls", ("figure", "value"), rows)


def _generators(records: Sequence[RunRecord], called: Sequence[str]) -> str:
    rows = []
    for label, written in _GENERATOR.items():
        values = [written(record) for record in records]
        if any(value is not None for value in values):
            rows.append((label, *("–" if value is None else value for value in values)))
    head = ("figure", *called) if len(records) > 1 else ("figure", "value")
    return table("Generator and connections", head, rows)


_GENERATOR: Mapping[str, Any] = {
    "processes": lambda r: f"{r.generator.processes:,}",
    "CPU of the generator": lambda r: f"{r.generator.cpu_share * 100:.1f}% of a core",
    "calls it was late for": lambda r: f"{r.generator.late * 100:.3g}%",
    "how late, p99": lambda r: ms(r.generator.late_p99_ms),
    "how late, at most": lambda r: ms(r.generator.late_max_ms),
    "event loop's lag, p99": lambda r: ms(r.generator.lag_p99_ms),
    "event loop's lag, at most": lambda r: ms(r.generator.lag_max_ms),
    "waited for --max-connections": lambda r: span(r.generator.blocked_s),
    "connections opened": lambda r: f"{r.connections.opened:,}",
    "connections at once, at most": lambda r: f"{r.connections.most:,}",
    "connecting, p50": lambda r: ms(r.connections.connect_p50_ms),
    "connecting, at most": lambda r: ms(r.connections.connect_max_ms),
    "TLS, p50": lambda r: _optional_ms(r.connections.tls_p50_ms),
    "TLS, at most": lambda r: _optional_ms(r.connections.tls_max_ms),
}


def _optional_ms(value: float | None) -> str | None:
    return None if value is None else ms(value)


def _settings(records: Sequence[RunRecord], called: Sequence[str]) -> str:
    columns = [_settings_of(record) for record in records]
    rows: list[tuple[object, ...]] = []
    for name in dict.fromkeys(name for column in columns for name in column):
        values = [column.get(name, "–") for column in columns]
        differs = badge("differs", "open") if len(set(values)) > 1 else ""
        rows.append((name, *values, *([differs] if len(records) > 1 else [])))
    head = ("setting", *called, "") if len(records) > 1 else ("setting", "value")
    return table("How it was run", head, rows, words=len(head))


def _settings_of(record: RunRecord) -> dict[str, str]:
    total = sum(record.actions.values())
    return {
        "endpoint": record.endpoint,
        "model": record.model,
        **({"schedule": _schedule(record.stages)} if record.stages else {}),
        "warm-up": span(record.warmup_s),
        "actions": ", ".join(
            name if len(record.actions) == 1 else f"{name} {share(weight, total)}"
            for name, weight in record.actions.items()
        ),
        **{name.replace("_", "-"): setting(value) for name, value in record.settings.items()},
        "state": record.state,
        "batchkms": record.version,
    }


def _schedule(stages: Sequence[StageRecord]) -> str:
    shown = [
        f"{span(stage.duration_s)} at {stage.from_rate:g}/s"
        if stage.from_rate == stage.to_rate
        else f"{span(stage.duration_s)} from {stage.from_rate:g} to {stage.to_rate:g}/s"
        for stage in stages[:_MOST_STAGES]
    ]
    left = len(stages) - len(shown)
    return ", then ".join([*shown, *([f"… {left:,} more"] if left else [])])
