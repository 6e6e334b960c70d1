"""What a run counts while it goes on, for the display, the summary and the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hdrh.histogram import HdrHistogram

from batchkms.records import Result

_LOWEST_US, _HIGHEST_US, _DIGITS = 1, 3_600_000_000, 3


_CODES = 200

OTHER_CODES = "OtherCodes"
"""What further codes are counted under, once 200 different ones were seen."""

_KEYS = 10_000

OTHER_KEYS = "other keys"
"""What further CMKs are counted under, once 10,000 different ones were seen."""

_FOLDED_VALUES = 4_096


class Tally:
    """Counters of one run.

    `rows` were taken from the input, `exhausted` tells whether that was all of it; `kept` of
    them were done by an earlier run, with `kept_calls` calls, and count as done here;
    `passed_on` came in as failures of another run; `unchanged` are ciphertexts that ReEncrypt
    gave back as they were. `calls` are attempts sent, `retries` those after a record's first.
    `latency` holds the latency of
    each row's last attempt in microseconds, to three digits.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.kept = 0
        self.kept_calls = 0
        self.passed_on = 0
        self.exhausted = False
        self.ok = 0
        self.failed = 0
        self.in_flight = 0
        self.calls = 0
        self.retries = 0
        self.throttled = 0
        self.unchanged = 0
        self.by_class: Counter[str] = Counter()
        self.by_code: Counter[str] = Counter()
        self.by_key: Counter[str] = Counter()
        self.first_call_s: float | None = None
        self.last_call_s: float | None = None
        self._latency_sum_us = 0
        self._latency = HdrHistogram(_LOWEST_US, _HIGHEST_US, _DIGITS)
        self._latencies_us: Counter[int] = Counter()

    @property
    def done(self) -> int:
        """Rows with a Result."""
        return self.ok + self.failed

    @property
    def calling_s(self) -> float:
        """From the first call to the last one, in seconds."""
        if self.first_call_s is None or self.last_call_s is None:
            return 0.0
        return self.last_call_s - self.first_call_s

    def called(self, now: float, *, again: bool) -> None:
        """Counts one call, sent at this time of the loop's clock."""
        self.calls += 1
        self.retries += again
        self.last_call_s = now
        if self.first_call_s is None:
            self.first_call_s = now

    def not_called(self, *, again: bool) -> None:
        """Takes back what `called` counted: the call came to nothing before it was sent."""
        self.calls -= 1
        self.retries -= again

    def _counted_code(self, code: str) -> str:
        """The code, or one for all others once there are too many different ones."""
        return code if code in self.by_code or len(self.by_code) < _CODES else OTHER_CODES

    def count_ok(self, results: Sequence[Result]) -> None:
        """Counts Results of rows that are ok, as `count` does each of them."""
        self.ok += len(results)
        self.unchanged += sum([result.reencrypted is False for result in results])
        for key_id, rows in Counter([result.key_id or "" for result in results]).items():
            self.by_key[self._counted_key(key_id)] += rows
        for result in results:
            if result.latency_ms is not None:
                self._count_latency(result.latency_ms)

    def count(self, result: Result) -> None:
        """Counts one Result."""
        if result.status == "ok":
            self.ok += 1
            self.unchanged += result.reencrypted is False
            self.by_key[self._counted_key(result.key_id or "")] += 1
        else:
            self.failed += 1
            self.by_class[result.error_class or ""] += 1
            self.by_code[self._counted_code(result.code or "")] += 1
        if result.latency_ms is not None:
            self._count_latency(result.latency_ms)

    def _counted_key(self, key_id: str) -> str:
        return key_id if key_id in self.by_key or len(self.by_key) < _KEYS else OTHER_KEYS

    def _count_latency(self, latency_ms: float) -> None:
        self._latencies_us[max(1, round(latency_ms * 1000))] += 1
        if len(self._latencies_us) >= _FOLDED_VALUES:
            self._fold()

    @property
    def latency(self) -> HdrHistogram:
        """The latencies of the rows' last attempts, in microseconds."""
        self._fold()
        return self._latency

    @property
    def latency_sum_us(self) -> int:
        """The sum of these latencies, in microseconds."""
        self._fold()
        return self._latency_sum_us

    def _fold(self) -> None:
        # The histogram is slow in Python; most rows share their microseconds with others.
        for latency_us, rows in self._latencies_us.items():
            self._latency.record_value(min(latency_us, _HIGHEST_US), rows)
            self._latency_sum_us += latency_us * rows
        self._latencies_us.clear()
