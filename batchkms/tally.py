"""What a run counts while it goes on, for the display, the summary and the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from batchkms.latency import Latencies
from batchkms.records import Result

_CODES = 200

OTHER_CODES = "OtherCodes"
"""What further codes are counted under, once 200 different ones were seen."""

_KEYS = 10_000

OTHER_KEYS = "other keys"
"""What further CMKs are counted under, once 10,000 different ones were seen."""


class Tally:
    """Counters of one run.

    `rows` were taken from the input, `exhausted` tells whether that was all of it; `kept` of
    them were done by an earlier run, with `kept_calls` calls, and count as done here;
    `passed_on` came in as failures of another run; `unchanged` are ciphertexts that ReEncrypt
    gave back as they were. `calls` are attempts sent, `retries` those after a record's first.
    `latency` holds the latencies
    of each row's last attempt.
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
        self.latency = Latencies()

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
        unchanged = sum([result.reencrypted is False for result in results])
        by_key = Counter([result.key_id or "" for result in results])
        self.count_made(len(results), by_key, unchanged=unchanged)
        for result in results:
            if result.latency_ms is not None:
                self.latency.count(result.latency_ms / 1000)

    def count(self, result: Result) -> None:
        """Counts one Result."""
        if result.status == "ok":
            self.ok += 1
            self.unchanged += result.reencrypted is False
            self.by_key[self._counted_key(result.key_id or "")] += 1
        else:
            self.count_failed(result.error_class or "", result.code or "")
        if result.latency_ms is not None:
            self.latency.count(result.latency_ms / 1000)

    def count_made(self, rows: int, by_key: Mapping[str, int], *, unchanged: int) -> None:
        """Counts rows that are ok, by their CMKs, without their latencies."""
        self.ok += rows
        self.unchanged += unchanged
        for key_id, rows_of_key in by_key.items():
            self.by_key[self._counted_key(key_id)] += rows_of_key

    def count_failed(self, error_class: str, code: str) -> None:
        """Counts one row that failed, without its latency."""
        self.failed += 1
        self.by_class[error_class] += 1
        self.by_code[self._counted_code(code)] += 1

    def _counted_key(self, key_id: str) -> str:
        return key_id if key_id in self.by_key or len(self.by_key) < _KEYS else OTHER_KEYS
