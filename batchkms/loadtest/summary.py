"""The end of a load test in numbers and words: exit code, summary as JSON or text, what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from batchkms.errors import BatchKmsError, verdict_for
from batchkms.latency import Latencies
from batchkms.loadtest.call import OK
from batchkms.loadtest.maxrate import max_rate_line
from batchkms.loadtest.runrecord import RunRecord, SloRecord
from batchkms.loadtest.slo import parse_slo
from batchkms.loadtest.statistics import OTHER, Statistics
from batchkms.records import ErrorClass
from batchkms.reporting.summary import Exit, span_text

POINTS = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}
"""The percentiles of a summary, by name."""

_ADVICE = {
    ErrorClass.THROTTLED: "that is the quota: lower --rate, or find what it allows with --find-max",
    ErrorClass.INVALID_RECORD: "correct the rows of the input, or leave them out",
    ErrorClass.INVALID_REQUEST: "correct what the service refused: see the codes",
}
"""Where the advice on rows of an inventory does not fit the calls of a load test."""

_FEWER = "that is the quota: fewer calls under way (--concurrency) or a --rate stay within it"

_OF_TIMEOUTS = ("AttemptTimeout", "ConnectTimeout")
_TOO_SLOW = (
    "the server was too slow for --timeout and --connect-timeout: lower the rate, or wait longer"
)

_OF_THE_WAY = ("DnsFailure", "ConnectFailed", "ConnectionRefused", "ConnectionReset", "TlsFailure")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSummary:
    """What is told at the end. `wall_s` is the whole time in seconds; paths as they were given.

    `files` are others that were written, by what they are: `junit`, `hgrm`. `error` is what
    ended the run, if anything did.
    """

    record: RunRecord
    statistics: Statistics
    wall_s: float
    output: str | None = None
    report: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    error: BatchKmsError | None = None
    command: str = "loadtest"

    @property
    def exit_code(self) -> Exit:
        """The exit code: errors are figures, unless all calls failed or an SLO forbids them."""
        if self.record.state == "interrupted":
            return Exit.INTERRUPTED
        if self.error is not None:
            return Exit.STOPPED
        if not self.record.valid or not self._held or self.record.state == "aborted":
            return Exit.THRESHOLD
        if not self.statistics.calls:
            return Exit.NO_RECORDS
        if self.statistics.ok:
            return Exit.OK
        codes = self.statistics.failures
        retryable = all(verdict_for(code).retryable for code in codes)
        return Exit.ALL_RETRYABLE if retryable else Exit.SOME_FAILED

    def with_exit_code(self) -> LoadSummary:
        """The same, with a record that knows the exit code."""
        record = msgspec.structs.replace(self.record, exit_code=int(self.exit_code))
        return replace(self, record=record)

    def as_json(self) -> dict[str, Any]:
        """The summary for programs; latencies are null where there was no call to measure."""
        record, statistics = self.record, self.statistics
        return {
            "command": self.command,
            "state": record.state,
            "exit_code": int(self.exit_code),
            "valid": record.valid,
            "invalid": list(record.invalid),
            "notes": list(record.notes),
            "endpoint": record.endpoint,
            "model": record.model,
            "calls": statistics.calls,
            "ok": statistics.ok,
            "errors": statistics.errors,
            "warmup_calls": statistics.warmup_calls,
            "rate": {
                "target": _rounded(record.target_rate),
                "achieved": _rounded(statistics.sent_rate),
                "ok": _rounded(statistics.ok_rate),
            },
            "latency_ms": {
                "from_schedule": latency_ms(statistics.from_schedule),
                "from_send": latency_ms(statistics.from_send),
            },
            "classes": {OK: statistics.ok, **self._error_classes()},
            "codes": self._codes(),
            "actions": self._actions(),
            "retries": statistics.retries,
            "never_sent": statistics.never_sent,
            "bytes": statistics.bytes,
            "wall_s": round(self.wall_s, 3),
            "generator": msgspec.to_builtins(record.generator),
            "connections": msgspec.to_builtins(record.connections),
            "slos": msgspec.to_builtins(record.slos),
            "max_rate": record.max_rate,
            "output": self.output,
            "report": self.report,
            "files": dict(self.files),
            "error": None
            if self.error is None
            else {"message": self.error.message, "hint": self.error.hint},
            "next": self.next_steps(),
        }

    def as_text(self) -> list[str]:
        """The summary for people, line by line."""
        record, statistics = self.record, self.statistics
        lines = [
            f"{record.state}: {statistics.calls:,} {_calls(statistics.calls)} in "
            f"{span_text(self.wall_s)}, {statistics.ok:,} ok, {statistics.errors:,} failed"
            + self._warmup_text(),
            *self._class_lines(),
            self._rate_line(),
        ]
        if statistics.calls:
            lines.append(f"latency ms from schedule: {percentiles_text(statistics.from_schedule)}")
            lines.append(f"latency ms from send:     {percentiles_text(statistics.from_send)}")
        lines += [self._connections_line(), self._generator_line()]
        lines += [slo_line(slo) for slo in record.slos]
        lines += self._max_rate_lines()
        lines += [f"not valid: {reason}" for reason in record.invalid]
        lines += [f"note: {note}" for note in record.notes]
        written = {"results": self.output, "report": self.report, **self.files}
        lines += [f"{name}: {path}" for name, path in written.items() if path is not None]
        return lines + [f"next: {step}" for step in self.next_steps()]

    def next_steps(self) -> list[str]:
        """What the user can do, most frequent first; first of all about a run that is not valid."""
        advice: Counter[str] = Counter()
        for code, failure in self.statistics.failures.items():
            if text := self._advice(code):
                advice[text] += failure.calls
        steps = [f"{text} ({calls:,} {_calls(calls)})" for text, calls in advice.most_common()]
        return [*self._next_about_generator(), *steps]

    def _advice(self, code: str) -> str | None:
        verdict = verdict_for(code)
        if code in _OF_TIMEOUTS:
            return _TOO_SLOW
        if code in _OF_THE_WAY:
            return "check --endpoint and the network, then try again"
        if verdict.error_class is ErrorClass.THROTTLED:
            if self.record.max_rate is not None:
                return None  # That is what it was looking for.
            closed = self.record.model == "closed"
            return _FEWER if closed else _ADVICE[ErrorClass.THROTTLED]
        return _ADVICE.get(verdict.error_class, verdict.advice)

    @property
    def _held(self) -> bool:
        """Whether what was to be shown was shown."""
        max_rate = self.record.max_rate
        found = max_rate is None or (
            max_rate["rate"] > 0 and max_rate["limited_by"] in ("server", "most")
        )
        return found and all(slo.held for slo in self.record.slos)

    def _next_about_generator(self) -> list[str]:
        # What stopped the test says itself what to do.
        if self.record.valid or self.error is not None:
            return []
        return [
            "the figures are the generator's, not the service's: lower the rate, use more cores of "
            "this machine with --processes, give it more CPU, or begin the same test on several "
            "machines and merge their results"
        ]

    def _error_classes(self) -> dict[str, int]:
        by_class = self.statistics.by_class.most_common()
        return {str(name): calls for name, calls in by_class if name != OK and calls}

    def _codes(self) -> dict[str, Any]:
        failures = sorted(self.statistics.failures.items(), key=lambda each: -each[1].calls)
        return {
            code: {
                "class": failure.error_class,
                "calls": failure.calls,
                "first_s": round(failure.first_s, 3),
                "request_ids": list(failure.request_ids),
            }
            for code, failure in failures
        }

    def _actions(self) -> dict[str, Any]:
        actions: dict[str, Any] = {}
        for action, calls in self.statistics.by_action.most_common():
            outcomes = {
                outcome_class: outcome
                for (of, outcome_class), outcome in self.statistics.outcomes.items()
                if of == action
            }
            actions[action] = {
                "calls": calls,
                "classes": {name: outcome.calls for name, outcome in outcomes.items()},
                "latency_ms": {
                    "from_schedule": latency_ms(
                        Latencies.together(outcome.from_schedule for outcome in outcomes.values())
                    ),
                    "from_send": latency_ms(
                        Latencies.together(outcome.from_send for outcome in outcomes.values())
                    ),
                },
            }
        return actions

    def _warmup_text(self) -> str:
        calls = self.statistics.warmup_calls
        return f"; {calls:,} {_calls(calls)} of the warm-up not counted" if calls else ""

    def _class_lines(self) -> list[str]:
        lines = []
        for name, calls in self._error_classes().items():
            codes = {
                code: failure
                for code, failure in self.statistics.failures.items()
                if failure.error_class == name and code != OTHER
            }
            most = sorted(codes.items(), key=lambda each: -each[1].calls)
            texts = [f"{code} {failure.calls:,}" for code, failure in most[:4]]
            if len(most) > 4:
                texts.append(f"{len(most) - 4} more {'codes' if len(most) > 5 else 'code'}")
            ids = [failure.request_ids[0] for _, failure in most[:1] if failure.request_ids]
            example = f"; for example request {ids[0]}" if ids else ""
            lines.append(f"  {name}: {calls:,} ({', '.join(texts) or OTHER}{example})")
        return lines

    def _rate_line(self) -> str:
        statistics = self.statistics
        asked = self.record.target_rate
        target = "" if asked is None else f" of {asked:,.6g}/s asked"
        return (
            f"rate: {statistics.sent_rate:,.2f}/s sent{target}, {statistics.ok_rate:,.2f}/s ok"
            + (f"; {statistics.retries:,} retries" if statistics.retries else "")
        )

    def _connections_line(self) -> str:
        made = self.record.connections
        tls = (
            ""
            if made.tls_p50_ms is None or made.tls_max_ms is None
            else f"; TLS ms: p50 {made.tls_p50_ms:,.1f}  max {made.tls_max_ms:,.1f}"
        )
        if not made.opened:
            return "connections: none was made"
        return (
            f"connections: {made.opened:,} opened, {made.most:,} at once; connect ms: "
            f"p50 {made.connect_p50_ms:,.1f}  max {made.connect_max_ms:,.1f}{tls}; "
            f"{_bytes(self.statistics.bytes)}"
        )

    def _generator_line(self) -> str:
        made = self.record.generator
        blocked = (
            f"; {made.blocked_s:,.1f} s without a free connection" if made.blocked_s >= 0.05 else ""
        )
        processes = f"{made.processes} processes, " if made.processes > 1 else ""
        return (
            f"generator: {processes}{made.cpu_share:.0%} of a core, "
            f"{made.late:.2%} of calls late by itself, "
            f"event loop lag ms: p99 {made.lag_p99_ms:,.1f}  max {made.lag_max_ms:,.1f}{blocked}"
        )

    def _max_rate_lines(self) -> list[str]:
        found = self.record.max_rate
        if found is None:
            return []
        return [max_rate_line(found["rate"], found["limited_by"]), f"  {found['confidence']}"]


def latency_ms(latencies: Latencies) -> dict[str, float | None]:
    """Percentiles and the largest latency in milliseconds, by name; None if there was none."""
    if not latencies.total:
        return dict.fromkeys([*POINTS, "max"])
    values = latencies.percentiles_ms(list(POINTS.values()))
    return {**dict(zip(POINTS, values, strict=True)), "max": latencies.max_ms}


def slo_line(record: SloRecord) -> str:
    """How an SLO came out, for people."""
    measured = parse_slo(record.text).written(record.measured)
    if record.windows and record.held:
        return f"slo {record.text}: held in all of {record.windows:,} windows, at worst {measured}"
    if record.failed_windows:
        failed = record.failed_windows
        return (
            f"slo {record.text}: FAILED in {len(failed):,} of {record.windows:,} windows, first at "
            f"{failed[0]:,.0f} s, at worst {measured}"
        )
    return f"slo {record.text}: {'held' if record.held else 'FAILED'}, {measured}"


def percentiles_text(latencies: Latencies) -> str:
    """The same for people, in one line."""
    values = latency_ms(latencies)
    names = {"p999": "p99.9"}
    return "  ".join(
        f"{names.get(name, name)} {'-' if ms is None else format(ms, ',.1f')}"
        for name, ms in values.items()
    )


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 3)


def _calls(count: int) -> str:
    return "call" if count == 1 else "calls"


def _bytes(count: int) -> str:
    if count < 1024**2:
        return f"{count / 1024:,.1f} KiB"
    return f"{count / 1024**2:,.1f} MiB"
