"""What happened in a member, on its way into the counts of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Self

import msgspec

from batchkms.latency import microseconds
from batchkms.records import EarlierResult, Result
from batchkms.tally import Tally


class Failure(msgspec.Struct, array_like=True):
    """What the rules on failures look at: which row failed, and how."""

    seq: int
    error_class: str
    code: str
    message: str


class Counts(msgspec.Struct, array_like=True):
    """The counts of one lot of rows: they travel with it, so that the sums always fit the rows.

    `failures` are those of this run, `passed_on` those of another one that came in. Latencies are
    in microseconds.
    """

    ok: int = 0
    unchanged: int = 0
    by_key: dict[str, int] = {}
    latencies_us: list[int] = []
    failures: list[Failure] = []
    passed_on: list[Failure] = []
    request_ids: list[str] = []
    """Those of calls for rows that are ok: an answer that comes twice may come to two processes.

    Of rows under one data key the first has made the call, and the others name it too.
    """

    @classmethod
    def of(cls, results: Sequence[Result]) -> Self:
        """Counts the rows of a lot."""
        made = cls(
            by_key=Counter([r.key_id or "" for r in results if r.status == "ok"]),
            latencies_us=[
                microseconds(r.latency_ms / 1000) for r in results if r.latency_ms is not None
            ],
        )
        made.ok = sum(made.by_key.values())
        made.request_ids = [
            r.request_id for r in results if r.request_id and r.attempts and r.status == "ok"
        ]
        if made.ok < len(results):
            failed = [r for r in results if r.status != "ok"]
            made.failures = [_failure(r) for r in failed if not isinstance(r, EarlierResult)]
            made.passed_on = [_failure(r) for r in failed if isinstance(r, EarlierResult)]
        made.unchanged = sum([r.reencrypted is False for r in results])
        return made

    @classmethod
    def together(cls, many: Sequence[Self]) -> Self:
        """The counts of several lots as those of one, in their order."""
        by_key: Counter[str] = Counter()
        for each in many:
            by_key.update(each.by_key)
        return cls(
            ok=sum([each.ok for each in many]),
            unchanged=sum([each.unchanged for each in many]),
            by_key=by_key,
            latencies_us=[*chain.from_iterable(each.latencies_us for each in many)],
            failures=[*chain.from_iterable(each.failures for each in many)],
            passed_on=[*chain.from_iterable(each.passed_on for each in many)],
            request_ids=[*chain.from_iterable(each.request_ids for each in many)],
        )

    @property
    def rows(self) -> int:
        """How many rows it counts."""
        return self.ok + len(self.failures) + len(self.passed_on)

    def add_to(self, tally: Tally) -> None:
        """Counts all of it in a run's counts."""
        tally.count_made(self.ok, self.by_key, unchanged=self.unchanged)
        for failure in (*self.failures, *self.passed_on):
            tally.count_failed(failure.error_class, failure.code)
        tally.passed_on += len(self.passed_on)
        for value_us in self.latencies_us:
            tally.latency.count_us(value_us)


def _failure(result: Result) -> Failure:
    return Failure(
        result.seq, result.error_class or "", result.code or "", (result.message or "")[:1000]
    )


class Calls(msgspec.Struct, array_like=True):
    """The calls of a member since it last told: `in_flight`, `queued` and `outage` are as of now.

    Times are those of the clock that all processes of a machine share.
    """

    calls: int = 0
    retries: int = 0
    throttled: int = 0
    in_flight: int = 0
    queued: int = 0
    outage: bool = False
    first_call_s: float | None = None
    last_call_s: float | None = None

    def add_to(self, tally: Tally) -> None:
        """Counts the calls in a run's counts; those in flight are of several members."""
        tally.calls += self.calls
        tally.retries += self.retries
        tally.throttled += self.throttled
        if self.first_call_s is not None:
            first = tally.first_call_s
            tally.first_call_s = min(self.first_call_s, first) if first else self.first_call_s
        if self.last_call_s is not None:
            tally.last_call_s = max(self.last_call_s, tally.last_call_s or 0.0)


class MemberTally(Tally):
    """What the engine of a member counts: rows are counted anew with the lot that they leave in."""

    def __init__(self) -> None:
        super().__init__()
        self._told = Calls()

    def count_ok(self, results: Sequence[Result]) -> None:
        """Counts rows that are ok."""
        self.ok += len(results)

    def count(self, result: Result) -> None:
        """Counts one row."""
        if result.status == "ok":
            self.ok += 1
        else:
            self.failed += 1

    def news(self, *, queued: int, outage: bool) -> Calls | None:
        """What there is to tell since the last time; None if nothing has changed."""
        told = self._told
        now = Calls(
            calls=self.calls,
            retries=self.retries,
            throttled=self.throttled,
            in_flight=self.in_flight,
            queued=queued,
            outage=outage,
            first_call_s=self.first_call_s,
            last_call_s=self.last_call_s,
        )
        if now == told:
            return None
        self._told = now
        return msgspec.structs.replace(
            now,
            calls=now.calls - told.calls,
            retries=now.retries - told.retries,
            throttled=now.throttled - told.throttled,
        )
