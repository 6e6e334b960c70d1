"""The figures of a load test, counted call by call in fixed memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from batchkms.latency import LONGEST_US, Latencies, microseconds
from batchkms.loadtest.call import OK, Call
from batchkms.loadtest.timeline import Batch, Counted, Timeline

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
    second; `first_sent_s` and the like are seconds from the first scheduled moment. `due_in_s` is
    when calls were due, from when to when, where that is known better than by the calls seen.
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
        self.due_in_s: tuple[float, float] | None = None
        self.first_scheduled_s = float("inf")
        self.last_scheduled_s = 0.0
        self.first_sent_s = float("inf")
        self.last_sent_s = 0.0
        self.last_done_s = 0.0

    def count_all(self, calls: Iterable[Call]) -> None:
        """Counts calls, many in a third of the time that it takes one by one."""
        plain: dict[str, list[Call]] = {}
        for call in calls:
            if call.outcome != OK or call.warmup or call.attempts != 1 or call.sent is None:
                self.count(call)
            elif (group := plain.get(call.action)) is None:
                plain[call.action] = [call]
            else:
                group.append(call)
        for action, group in plain.items():
            self._count_plain(action, group)

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
        self._count_due(call.scheduled, call.scheduled)
        if call.sent is None:
            self.never_sent += 1
        else:
            self._count_sent(call.sent, call.sent)
        if call.done > self.last_done_s:
            self.last_done_s = call.done
        from_schedule_us = microseconds(call.done - call.scheduled)
        from_send_us = 0 if call.sent is None else microseconds(call.done - call.sent)
        self._count_latencies(call, from_schedule_us, from_send_us)
        self.timeline.count(call, from_schedule_us, from_send_us)
        if call.outcome != OK:
            self._count_failure(call)

    @property
    def from_schedule(self) -> Latencies:
        """Latencies from when each call was due. Made anew each time that it is asked for."""
        return _together([outcome.from_schedule for outcome in self.outcomes.values()])

    @property
    def from_send(self) -> Latencies:
        """Latencies from when each call was sent that was. Made anew as well."""
        return _together([outcome.from_send for outcome in self.outcomes.values()])

    @property
    def ok(self) -> int:
        """Calls that succeeded."""
        return self.by_class[OK]

    @property
    def errors(self) -> int:
        """Calls of every other class."""
        return self.calls - self.ok

    @property
    def sent_rate(self) -> float:
        """Calls per second that were sent, over the time that calls were due in; 0 if none was.

        That time is longer where the last ones were sent later.
        """
        return self._per_second(self.calls - self.never_sent, self.last_sent_s)

    @property
    def ok_rate(self) -> float:
        """Calls per second that succeeded, until the last one of all had ended."""
        return self._per_second(self.ok, self.last_done_s)

    @property
    def due_rate(self) -> float:
        """Calls per second that were due, over the time that they were due in."""
        return self._per_second(self.calls, 0.0)

    def _per_second(self, calls: int, until_s: float) -> float:
        begin_s, end_s = self.due_in_s or self._seen_s()
        span_s = max(end_s, until_s) - begin_s
        return calls / span_s if span_s > 0 and calls else 0.0

    def _seen_s(self) -> tuple[float, float]:
        """From the first call due to where another one would have been due after the last."""
        span_s = self.last_scheduled_s - self.first_scheduled_s
        gap_s = span_s / (self.calls - 1) if self.calls > 1 else 0.0
        return self.first_scheduled_s, self.last_scheduled_s + gap_s

    def _count_plain(self, action: str, calls: list[Call]) -> None:
        """Counts calls of one action that succeeded at once."""
        due = [call.scheduled for call in calls]
        sent = [call.sent or 0.0 for call in calls]
        done = [call.done for call in calls]
        self.calls += len(calls)
        self.bytes += sum([call.bytes for call in calls])
        self.by_class[OK] += len(calls)
        self.by_action[action] += len(calls)
        self._count_due(min(due), max(due))
        self._count_sent(min(sent), max(sent))
        self.last_done_s = max(self.last_done_s, max(done))
        from_schedule_us = _all_us(due, done)
        from_send_us = _all_us(sent, done)
        outcome = self._outcome(action, OK)
        outcome.calls += len(calls)
        batch = Batch(
            *(due, sent, done),
            from_schedule=Counted.of(from_schedule_us),
            from_send=Counted.of(from_send_us),
        )
        batch.from_schedule.add_to(outcome.from_schedule)
        batch.from_send.add_to(outcome.from_send)
        if not self.timeline.count_all(batch):
            for call, schedule_us, send_us in zip(
                calls, from_schedule_us, from_send_us, strict=True
            ):
                self.timeline.count(call, schedule_us, send_us)

    def _count_due(self, first_s: float, last_s: float) -> None:
        # Comparisons take a third of the time of `min` and `max`, and a call may be all there is.
        if first_s < self.first_scheduled_s:
            self.first_scheduled_s = first_s
        if last_s > self.last_scheduled_s:
            self.last_scheduled_s = last_s

    def _count_sent(self, first_s: float, last_s: float) -> None:
        if first_s < self.first_sent_s:
            self.first_sent_s = first_s
        if last_s > self.last_sent_s:
            self.last_sent_s = last_s

    def _count_latencies(self, call: Call, from_schedule_us: int, from_send_us: int) -> None:
        outcome = self._outcome(call.action, call.outcome)
        outcome.calls += 1
        outcome.from_schedule.count_us(from_schedule_us)
        if call.sent is not None:
            outcome.from_send.count_us(from_send_us)

    def _outcome(self, action: str, outcome_class: str) -> Outcome:
        key = action, outcome_class
        outcome = self.outcomes.get(key)
        if outcome is None:
            outcome = self.outcomes[key] = Outcome()
        return outcome

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


def _together(parts: list[Latencies]) -> Latencies:
    """All that several have counted; where there is only one, that one."""
    return parts[0] if len(parts) == 1 else Latencies.together(parts)


def _all_us(begins_s: list[float], ends_s: list[float]) -> list[int]:
    """As `microseconds` has each."""
    pairs = zip(begins_s, ends_s, strict=True)
    values = [int((end - begin) * 1_000_000 + 0.5) for begin, end in pairs]
    if min(values) >= 0 and max(values) <= LONGEST_US:
        return values
    return [min(max(value, 0), LONGEST_US) for value in values]
