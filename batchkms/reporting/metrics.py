"""What Prometheus is told of a run: names and types, and a collector that reads at each scrape.

A row costs nothing for it: all that a scrape tells is counted anyway. No label value comes from
the input, the account or the service. This module loads prometheus-client, so that it is imported
only where metrics were asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from batchkms._version import __version__
from batchkms.latency import Latencies
from batchkms.quota import Quotas
from batchkms.records import ErrorClass
from batchkms.reporting.progress import share_done
from batchkms.tally import Tally

OK = "ok"
"""The class of what has not failed."""

CLASSES = (OK, *(str(name) for name in ErrorClass))
"""Every value of a label `class`. All are told from the first scrape on, so that none appears
with its first count already in it, which `rate` and `increase` would not see."""

BUCKETS_S = (
    *(0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""The upper bounds of each bucket of a latency, in seconds."""

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric, under the name that a query has for it, but for `_bucket` and the like."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Labels = ()

    @property
    def sample_names(self) -> Labels:
        """The names that a query can have for it."""
        if self.kind == "histogram":
            return tuple(f"{self.name}{suffix}" for suffix in ("_bucket", "_sum", "_count"))
        return (self.name,)

    def of(self, values: Mapping[Labels, float] | float) -> Metric:
        """A counter or gauge with a value for each set of labels, or one where it has none."""
        kind = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        metric = kind(self.name, self.help, labels=self.labels)
        for labels, value in (values if isinstance(values, Mapping) else {(): values}).items():
            metric.add_metric(labels, value)
        return metric

    def of_latencies(self, values: Mapping[Labels, Latencies]) -> Metric:
        """A histogram, in seconds, for each set of labels."""
        metric = HistogramMetricFamily(self.name, self.help, labels=self.labels)
        for labels, latencies in values.items():
            metric.add_metric(labels, buckets(latencies), latencies.sum_us / 1e6)
        return metric


def buckets(latencies: Latencies) -> list[tuple[str, float]]:
    """Each upper bound in seconds, and how many are not above it, to the histogram's digits."""
    counts = latencies.counts_up_to(BUCKETS_S)
    bounds = [str(bound_s) for bound_s in BUCKETS_S]
    return [*zip(bounds, counts, strict=True), ("+Inf", latencies.total)]


def info(command: str) -> Metric:
    """`batchkms_info`, which names the command and the version; its value is 1."""
    labels = {"command": command, "version": __version__}
    return InfoMetricFamily("batchkms", "What is running.", value=labels)


INFO_NAME = "batchkms_info"

ROWS = Family(
    name="batchkms_rows_total",
    kind="counter",
    help="Rows with a result, those that an earlier part of the run has done included.",
    labels=("status", "class"),
)
INPUT_ROWS = Family(
    name="batchkms_input_rows_total", kind="counter", help="Rows taken from the input."
)
KEPT_ROWS = Family(
    name="batchkms_kept_rows", kind="gauge", help="Rows that an earlier part of the run has done."
)
INPUT_SHARE = Family(
    name="batchkms_input_share",
    kind="gauge",
    help="Share of the input that is done, 0 to 1; absent where the size is not known.",
)
CALLS = Family(
    name="batchkms_calls_total", kind="counter", help="Calls of KMS sent, retries included."
)
RETRIES = Family(
    name="batchkms_retries_total", kind="counter", help="Calls sent after the first one of a row."
)
THROTTLED = Family(
    name="batchkms_throttled_total", kind="counter", help="Calls that the service throttled."
)
QUEUE = Family(name="batchkms_queue_rows", kind="gauge", help="Rows that wait for a worker.")
IN_FLIGHT = Family(name="batchkms_in_flight_calls", kind="gauge", help="Calls in flight.")
RATE_LIMIT = Family(
    name="batchkms_rate_limit_calls_per_second",
    kind="gauge",
    help="The rate that the run keeps to, by the quota it is of; absent where there is no limit.",
    labels=("group",),
)
LATENCY = Family(
    name="batchkms_call_latency_seconds",
    kind="histogram",
    help="How long the last call of each row took.",
)
OUTAGE = Family(
    name="batchkms_outage",
    kind="gauge",
    help="Whether the run waits for a service that answers nobody: 1 or 0.",
)

RUN: tuple[Family, ...] = (
    *(ROWS, INPUT_ROWS, KEPT_ROWS, INPUT_SHARE, CALLS, RETRIES, THROTTLED),
    *(QUEUE, IN_FLIGHT, RATE_LIMIT, LATENCY, OUTAGE),
)
"""What a batch run serves beside `batchkms_info` and the metrics of the process."""

LOADTEST_CALLS = Family(
    name="batchkms_loadtest_calls_total",
    kind="counter",
    help="Calls that have ended, by how.",
    labels=("action", "class"),
)
LOADTEST_ASKED_CALLS = Family(
    name="batchkms_loadtest_asked_calls_total",
    kind="counter",
    help="Calls that were scheduled so far.",
)
LOADTEST_LATENCY = Family(
    name="batchkms_loadtest_latency_seconds",
    kind="histogram",
    help="How long calls took, since they were scheduled or since they were sent.",
    labels=("since",),
)
LOADTEST_CONNECTIONS = Family(
    name="batchkms_loadtest_connections", kind="gauge", help="Open connections."
)
LOADTEST_LAG = Family(
    name="batchkms_loadtest_generator_lag_seconds",
    kind="gauge",
    help="How late the generator itself is.",
)

LOADTEST: tuple[Family, ...] = (
    *(LOADTEST_CALLS, LOADTEST_ASKED_CALLS, LOADTEST_LATENCY),
    *(LOADTEST_CONNECTIONS, LOADTEST_LAG),
)
"""What a load test serves beside `batchkms_info` and the metrics of the process."""

SINCE_SCHEDULE, SINCE_SEND = ("schedule",), ("send",)
"""The labels of LOADTEST_LATENCY."""


class Waiting(Protocol):
    """What tells how much of a run waits, and for what; an Engine does."""

    @property
    def queued(self) -> int:
        """Records that wait for a worker."""

    @property
    def outage(self) -> bool:
        """Whether the run waits for a service that answers nobody."""


class RunCollector(Collector):
    """Reads a batch run each time that it is scraped.

    `watch` names the rest of what it reads, once that is there.
    """

    def __init__(self, command: str, tally: Tally) -> None:
        self._command = command
        self._tally = tally
        self._work: Waiting | None = None
        self._quotas: Quotas | None = None
        self._consumed: Callable[[], float | None] = lambda: None
        self._most: Counter[str] = Counter()

    def watch(self, work: Waiting, quotas: Quotas, *, consumed: Callable[[], float | None]) -> None:
        """From now on tells of these too. `consumed` is the share of the input that was read."""
        self._work, self._quotas, self._consumed = work, quotas, consumed

    def collect(self) -> Iterator[Metric]:
        """Every metric of RUN as it is now."""
        tally, work = self._tally, self._work
        yield info(self._command)
        yield ROWS.of(self._rows())
        yield INPUT_ROWS.of(tally.rows)
        yield KEPT_ROWS.of(tally.kept)
        share = share_done(tally, self._consumed())
        yield INPUT_SHARE.of({} if share is None else {(): share})
        yield self._counted(CALLS, tally.calls)
        yield self._counted(RETRIES, tally.retries)
        yield THROTTLED.of(tally.throttled)
        yield QUEUE.of(0 if work is None else work.queued)
        yield IN_FLIGHT.of(tally.in_flight)
        yield RATE_LIMIT.of(self._limits())
        yield LATENCY.of_latencies({(): tally.latency})
        yield OUTAGE.of(work is not None and work.outage)

    def _rows(self) -> Mapping[Labels, float]:
        rows: dict[Labels, float] = {
            ("ok" if name == OK else "failed", name): 0 for name in CLASSES
        }
        rows["ok", OK] = self._tally.ok
        for name, failed in self._tally.by_class.items():
            # Whatever else it is, it does not become a label: that would have to be a known value.
            known = name if name in CLASSES[1:] else str(ErrorClass.UNKNOWN)
            rows["failed", known] += failed
        return rows

    def _counted(self, family: Family, value: int) -> Metric:
        # A call that came to nothing is taken back, and Prometheus takes a counter that goes down
        # for one that has begun anew, and adds all of it once more.
        self._most[family.name] = max(self._most[family.name], value)
        return family.of(self._most[family.name])

    def _limits(self) -> Mapping[Labels, float]:
        quotas = self._quotas
        if quotas is None:
            return {}
        limits = {(str(group),): quotas[group].per_second for group in quotas}
        return {labels: limit for labels, limit in limits.items() if limit is not None}
