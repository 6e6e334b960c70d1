"""The figures of a load test, counted call by call in fixed memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from batchkms.latency import Latencies, microseconds
from batchkms.loadtest.call import OK, Call
from batchkms.loadtest.timeline import Timeline

MOST_CODES = 200
"""So many different codes are told apart; any further ones are counted under `OTHER`."""

MOST_EXAMPLES = 5
"""RequestIds that are kept of each code, to ask the service about."""

OTHER = "OtherCodes"


@dataclass(slots=True)
class Outcome:
    """The calls of one action that ended in one class. `from_send` lacks those never sent."""

    calls: int = 0
    from_schedule: Latencies = field(default_factory=Latencies)
    from_send: Latencies = field(default_factory=Latencies)


@dataclass(slots=True)
class Failure:
    """What is known of one error code. `first_s` is when it was first seen."""

    error_class: str
    first_s: float
    calls: int = 0
    request_ids: list[str] = field(default_factory=list)


class Statistics:
    """Counts calls. `from_schedule` and `from_send` are over all of them, whatever came of them.

    A failure that took long must not make the percentiles look better by not being in them.
    Calls of the warm-up are counted in `warmup_calls` and nowhere else. Rates are in calls per
    second; `first_sent_s` and the like are seconds from the first scheduled moment.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.warmup_calls = 0
        self.retries = 0
        self.bytes = 0
        self.never_sent = 0
        self.by_class: Counter[str] = Counter()
        self.by_action: Counter[str] = Counter()
        self.outcomes: dict[tuple[str, str], Outcome] = {}
        self.failures: dict[str, Failure] = {}
        self.timeline = Timeline()
        self.first_scheduled_s = float("inf")
        self.last_scheduled_s = 0.0
        self.first_sent_s = float("inf")
        self.last_sent_s = 0.0
        self.last_done_s = 0.0

    def count(self, call: Call) -> None:
        """Counts one call."""
        if call.warmup:
            self.warmup_calls += 1
            return
        self.calls += 1
        self.retries += call.attempts - 1
        self.bytes += call.bytes
        self.by_class[call.outcome] += 1
        self.by_action[call.action] += 1
        self._count_times(call)
        from_schedule_us = microseconds(call.done - call.scheduled)
        from_send_us = 0 if call.sent is None else microseconds(call.done - call.sent)
        self._count_latencies(call, from_schedule_us, from_send_us)
        self.timeline.count(call, from_schedule_us, from_send_us)
        if call.outcome != OK:
            self._count_failure(call)

    @property
    def ok(self) -> int:
        """Calls that succeeded."""
        return self.by_class[OK]

    @property
    def errors(self) -> int:
        """Calls of every other class."""
        return self.calls - self.ok

    @property
    def from_schedule(self) -> Latencies:
        """The latencies of all calls, from when each was due."""
        return Latencies.together(each.from_schedule for each in self.outcomes.values())

    @property
    def from_send(self) -> Latencies:
        """The latencies of all calls that were sent, from their first byte."""
        return Latencies.together(each.from_send for each in self.outcomes.values())

    @property
    def sent_rate(self) -> float:
        """Calls per second from the first sent to the last; 0 if that is no span of time."""
        span_s = self.last_sent_s - self.first_sent_s
        return (self.calls - self.never_sent - 1) / span_s if span_s > 0 else 0.0

    @property
    def ok_rate(self) -> float:
        """Calls per second that succeeded, from the first one due to the last one ended."""
        span_s = self.last_done_s - self.first_scheduled_s
        return self.ok / span_s if span_s > 0 else 0.0

    def _count_times(self, call: Call) -> None:
        # Comparisons take a third of the time of `min` and `max`, and this is done for every call.
        scheduled, sent = call.scheduled, call.sent
        if scheduled < self.first_scheduled_s:
            self.first_scheduled_s = scheduled
        if scheduled > self.last_scheduled_s:
            self.last_scheduled_s = scheduled
        if call.done > self.last_done_s:
            self.last_done_s = call.done
        if sent is None:
            self.never_sent += 1
            return
        if sent < self.first_sent_s:
            self.first_sent_s = sent
        if sent > self.last_sent_s:
            self.last_sent_s = sent

    def _count_latencies(self, call: Call, from_schedule_us: int, from_send_us: int) -> None:
        key = call.action, call.outcome
        outcome = self.outcomes.get(key)
        if outcome is None:
            outcome = self.outcomes[key] = Outcome()
        outcome.calls += 1
        outcome.from_schedule.count_us(from_schedule_us)
        if call.sent is not None:
            outcome.from_send.count_us(from_send_us)

    def _count_failure(self, call: Call) -> None:
        code = call.code or call.outcome
        if code not in self.failures and len(self.failures) >= MOST_CODES:
            code = OTHER
        failure = self.failures.get(code)
        if failure is None:
            failure = self.failures[code] = Failure(call.outcome, call.done)
        failure.calls += 1
        if call.request_id and len(failure.request_ids) < MOST_EXAMPLES:
            failure.request_ids.append(call.request_id)
