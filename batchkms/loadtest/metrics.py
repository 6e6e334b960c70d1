"""What Prometheus is told of a load test, read at each scrape."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from batchkms.latency import Latencies
from batchkms.loadtest.loadtest import LoadTest
from batchkms.reporting.metrics import (
    CLASSES,
    LOADTEST_ASKED_CALLS,
    LOADTEST_CALLS,
    LOADTEST_CONNECTIONS,
    LOADTEST_LAG,
    LOADTEST_LATENCY,
    SINCE_SCHEDULE,
    SINCE_SEND,
    info,
)


class LoadCollector(Collector):
    """Reads a load test each time that it is scraped. Calls of the warm-up are not counted."""

    def __init__(self, test: LoadTest, actions: tuple[str, ...]) -> None:
        self._test = test
        self._actions = actions

    def collect(self) -> Iterator[Metric]:
        """Every metric of LOADTEST as it is now."""
        test, statistics = self._test, self._test.statistics
        yield info("loadtest")
        # All of them from the first scrape on: `rate` does not see a first count.
        calls: dict[tuple[str, ...], float] = {
            (action, outcome): 0 for action in self._actions for outcome in CLASSES
        }
        for (action, outcome), counted in statistics.outcomes.items():
            calls[action, outcome] = counted.calls
        yield LOADTEST_CALLS.of(calls)
        yield LOADTEST_ASKED_CALLS.of(test.asked_by(test.elapsed_s))
        latencies: dict[tuple[str, ...], Latencies] = {
            SINCE_SCHEDULE: statistics.from_schedule,
            SINCE_SEND: statistics.from_send,
        }
        yield LOADTEST_LATENCY.of_latencies(latencies)
        yield LOADTEST_CONNECTIONS.of(test.caller.open_connections)
        yield LOADTEST_LAG.of(test.caller.lag_now_s)
