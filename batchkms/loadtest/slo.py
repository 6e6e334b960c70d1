"""What a service has promised, as `p99<50ms` or `errors<0.1%`: how it is read, and judged."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from batchkms.errors import BadValue
from batchkms.loadtest.call import OK
from batchkms.records import ErrorClass

ERRORS = "errors"
"""The calls of every class but `ok`."""

RATE = "rate"

COUNTED = (ERRORS, OK, *(str(each) for each in ErrorClass))
"""The metrics that are numbers of calls, or shares of them."""

Kind = Literal["latency", "count", "share", "rate"]

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}

_UNITS_MS = {"us": 0.001, "µs": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}

_FORM = re.compile(r"\s*([^\s<>=]+)\s*(<=|>=|==|<|>)\s*([^\s<>=]+)\s*")

_EXAMPLES = "such as 'p99<50ms', 'errors<0.1%' or 'throttled==0'"


class Times(Protocol):
    """Latencies that were counted: `Latencies`, or those of a window."""

    @property
    def total(self) -> int:
        """How many there are."""

    @property
    def mean_ms(self) -> float:
        """The mean in milliseconds."""

    @property
    def max_ms(self) -> float:
        """The largest one in milliseconds."""

    def percentile_ms(self, point: float, /) -> float:
        """The value at a percentile, 0 to 100, in milliseconds."""


class Figures(Protocol):
    """What an SLO is judged on: `Statistics`, or what a window has of them."""

    @property
    def calls(self) -> int:
        """The calls that ended, whatever came of them."""

    @property
    def by_class(self) -> Mapping[str, int]:
        """The same by class."""

    @property
    def from_schedule(self) -> Times:
        """Their latencies from when each was due."""

    @property
    def from_send(self) -> Times:
        """The latencies of those that were sent, from their first byte."""

    @property
    def sent_rate(self) -> float:
        """Calls per second from the first sent to the last."""


@dataclass(frozen=True, slots=True)
class SloVerdict:
    """How an SLO came out. `calls` are those it was judged on: none of them shows nothing."""

    held: bool
    measured: float
    calls: int


@dataclass(frozen=True, slots=True)
class Slo:
    """One SLO. `limit` is in ms for latencies, a share of 1 for shares, calls or calls/s else.

    `metric` is a percentile such as `99.9`, `mean` or `max` for latencies, `rate`, or a name of
    `COUNTED`. `from_send` says that latencies count from the first byte, not from the schedule.
    """

    text: str
    kind: Kind
    metric: str
    operator: str
    limit: float
    from_send: bool = False

    def judge(self, figures: Figures) -> SloVerdict:
        """Whether it holds. Without any call it does not, as nothing was shown."""
        calls = figures.calls
        if self.kind == "latency":
            times = figures.from_send if self.from_send else figures.from_schedule
            calls, measured = times.total, _latency_ms(times, self.metric)
        elif self.kind == "rate":
            measured = figures.sent_rate
        else:
            measured = _counted(figures, self.metric)
            if self.kind == "share":
                measured = measured / calls if calls else 0.0
        held = calls > 0 and _OPERATORS[self.operator](measured, self.limit)
        return SloVerdict(held, measured, calls)

    @property
    def grows(self) -> bool:
        """Whether more calls alone may bring it about, so that it is judged at the end only."""
        return self.operator in (">", ">=") and self.kind in ("count", "rate")

    def lost(self, figures: Figures) -> bool:
        """Whether no later call can bring it about any more."""
        if self.kind == "count" and not self.grows:
            measured = _counted(figures, self.metric)
            return measured > self.limit or (self.operator == "<" and measured >= self.limit)
        if self.kind == "latency" and self.metric == "max" and self.operator in ("<", "<="):
            verdict = self.judge(figures)
            return verdict.calls > 0 and not verdict.held
        return False

    def worse(self, one: float, other: float) -> float:
        """Which of two measured values is further from holding."""
        if self.operator in ("<", "<="):
            return max(one, other)
        if self.operator in (">", ">="):
            return min(one, other)
        return max(one, other, key=lambda value: abs(value - self.limit))

    def written(self, measured: float) -> str:
        """A measured value with its unit: `41.3 ms`, `0.05%`, `3` or `299.8/s`."""
        if self.kind == "latency":
            return f"{measured:,.3f} ms" if measured < 1 else f"{measured:,.1f} ms"
        if self.kind == "share":
            return f"{measured * 100:.6f}".rstrip("0").rstrip(".") + "%"
        return f"{measured:,.2f}/s" if self.kind == "rate" else f"{measured:,.0f}"


def parse_slo(text: str) -> Slo:
    """The SLO that is written so.

    Raises:
        BadValue: it is none; the text says what is taken instead.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise BadValue(f"takes a metric, one of < <= > >= == and a limit, {_EXAMPLES}")
    name, sign, limit = match.groups()
    from_send = name.startswith("send.")
    if (metric := _latency_metric(name.removeprefix("send."))) is not None:
        return Slo(text.strip(), "latency", metric, sign, _parsed_ms(name, limit), from_send)
    if name == RATE:
        return Slo(text.strip(), "rate", RATE, sign, _parsed_rate(limit))
    if name not in COUNTED:
        raise BadValue(_unknown(name))
    if limit.endswith("%"):
        return Slo(text.strip(), "share", name, sign, _parsed_share(name, limit))
    return Slo(text.strip(), "count", name, sign, _parsed_count(name, limit))


def parse_slos(texts: Iterable[str]) -> tuple[Slo, ...]:
    """The SLOs that are written so. Raises BadValue as `parse_slo` does."""
    return tuple(parse_slo(text) for text in texts)


def _latency_metric(name: str) -> str | None:
    if name in ("mean", "max"):
        return name
    match = re.fullmatch(r"p([0-9]{1,4}(?:\.[0-9]{1,6})?)", name)
    if match is None:
        return None
    if not 0 < float(match[1]) <= 100:
        digits = match[1].replace(".", "")
        meant = f"p{digits[:2]}.{digits[2:]}" if len(digits) > 2 else "p50"
        raise BadValue(
            f"takes percentiles above 0 and up to 100, not {name} (p99.9 is written so; "
            f"the nearest is {meant!r})"
        )
    return match[1]


def _latency_ms(times: Times, metric: str) -> float:
    if metric == "mean":
        return times.mean_ms
    return times.max_ms if metric == "max" else times.percentile_ms(float(metric))


def _counted(figures: Figures, metric: str) -> float:
    by_class = figures.by_class
    return figures.calls - by_class.get(OK, 0) if metric == ERRORS else by_class.get(metric, 0)


def _parsed_ms(name: str, limit: str) -> float:
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(us|µs|ms|s|m)", limit)
    if match is None or float(match[1]) == 0:
        raise BadValue(f"takes a time such as 100us, 50ms or 1s as the limit of {name}")
    return float(match[1]) * _UNITS_MS[match[2]]


def _parsed_rate(limit: str) -> float:
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(?:/s)?", limit)
    if match is None:
        raise BadValue("takes a number of calls per second such as 299.5 as the limit of rate")
    return float(match[1])


def _parsed_share(name: str, limit: str) -> float:
    match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)%", limit)
    if match is None or float(match[1]) > 100:
        raise BadValue(f"takes a share from 0% to 100% as the limit of {name}")
    return float(match[1]) / 100


def _parsed_count(name: str, limit: str) -> float:
    if re.fullmatch(r"[0-9]{1,12}", limit) is None:
        raise BadValue(
            f"takes a number of calls such as 5, or a share such as 0.1%, as the limit of {name}"
        )
    return float(limit)


def _unknown(name: str) -> str:
    known = ["p50", "p90", "p99", "p99.9", "mean", "max", RATE, *COUNTED]
    known += [f"send.{each}" for each in known[:6]]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"has no metric {name!r}; the nearest is {near[0]!r}"
