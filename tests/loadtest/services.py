"""Services with a known limit, on virtual time: what a search for it is tried on."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from batchkms.loadtest.call import OK, Call
from batchkms.loadtest.slo import Slo
from batchkms.loadtest.steps import Step, StepCounter


class Service(Protocol):
    """Answers calls in the order of their arrival."""

    def answer(self, now_s: float) -> tuple[str, float]:
        """The class of the outcome, and when the call ends."""


class Sliding:
    """A strict sliding second."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._times: deque[float] = deque()

    def answer(self, now_s: float) -> tuple[str, float]:
        while self._times and self._times[0] <= now_s - 1.0:
            self._times.popleft()
        if len(self._times) >= self._limit:
            return "throttled", now_s + 0.001
        self._times.append(now_s)
        return OK, now_s + 0.002


class Fixed:
    """A limit in each second of the clock."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._second = -1
        self._calls = 0

    def answer(self, now_s: float) -> tuple[str, float]:
        second = math.floor(now_s)
        if second != self._second:
            self._second, self._calls = second, 0
        self._calls += 1
        return ("throttled", now_s + 0.001) if self._calls > self._limit else (OK, now_s + 0.002)


class Bucket:
    """A token bucket: so many a second, and a burst that was saved up."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = self._tokens = burst
        self._at_s = 0.0

    def answer(self, now_s: float) -> tuple[str, float]:
        saved = self._tokens + (now_s - self._at_s) * self._rate
        self._tokens, self._at_s = min(self._burst, saved), now_s
        if self._tokens < 1:
            return "throttled", now_s + 0.001
        self._tokens -= 1
        return OK, now_s + 0.002


class Queue:
    """One server, so many calls a second, each waiting for those before it; never refuses."""

    def __init__(self, rate: float, rng: random.Random, *, spread: float = 0.0) -> None:
        self._mean_s = 1 / rate
        self._rng = rng
        self._spread = spread
        self._free_s = 0.0

    def answer(self, now_s: float) -> tuple[str, float]:
        takes_s = self._mean_s * (1 - self._spread + self._spread * self._rng.expovariate(1))
        self._free_s = max(now_s, self._free_s) + takes_s
        return OK, self._free_s


class Flaky:
    """Another service that fails for some calls, whatever the rate."""

    def __init__(self, service: Service, share: float, rng: random.Random) -> None:
        self._service, self._share, self._rng = service, share, rng

    def answer(self, now_s: float) -> tuple[str, float]:
        if self._rng.random() < self._share:
            return "internal", now_s + 0.002
        return self._service.answer(now_s)


class Bench:
    """Measures a service on virtual time, as a generator would: with jitter, and hiccups.

    A hiccup of up to `hiccup_s` comes about every `hiccup_every_s`: what was due meanwhile is
    sent at its end. More than `most` calls a second the generator itself cannot do.
    """

    def __init__(
        self,
        service: Service,
        slos: Sequence[Slo],
        rng: random.Random,
        *,
        jitter_s: float = 0.001,
        hiccup_s: float = 0.0,
        hiccup_every_s: float = 10.0,
        most: float = math.inf,
    ) -> None:
        self.now_s = rng.uniform(100, 200)
        self._service, self._slos, self._rng = service, slos, rng
        self._jitter_s, self._hiccup_s, self._every_s = jitter_s, hiccup_s, hiccup_every_s
        self._most = most
        self._began_s = self.now_s
        self._next_hiccup_s = self.now_s + rng.expovariate(1 / hiccup_every_s)

    @property
    def wall_s(self) -> float:
        """How long the search has taken."""
        return self.now_s - self._began_s

    async def settle(self, seconds: float) -> None:
        """Lets time pass."""
        self.now_s += seconds

    async def measure(self, rate: float, seconds: float) -> Step:
        """One step."""
        begin_s = self.now_s + 0.05
        counter = StepCounter(self._slos, rate=rate, begin_s=begin_s, asked_s=seconds)
        last_s = begin_s + seconds
        due_s = [begin_s + number / rate for number in range(math.ceil(rate * seconds))]
        sent_s = self._sent(due_s, rate)
        for due, sent in zip(due_s, sent_s, strict=True):
            outcome, done_s = self._service.answer(sent)
            last_s = max(last_s, done_s)
            counter.count(
                Call(scheduled=due, sent=sent, done=done_s, action="e", outcome=outcome, bytes=1)
            )
        began_s, self.now_s = self.now_s, last_s
        return counter.step(took_s=last_s - began_s, valid=rate <= self._most)

    def _sent(self, due_s: list[float], rate: float) -> list[float]:
        sent, until_s = [], 0.0
        slow = max(1.0, rate / self._most)
        for due in due_s:
            begun = due_s[0] + (due - due_s[0]) * slow
            if self._hiccup_s and begun > self._next_hiccup_s:
                until_s = begun + self._rng.uniform(0, self._hiccup_s)
                self._next_hiccup_s = begun + self._rng.expovariate(1 / self._every_s)
            sent.append(max(begun + self._rng.uniform(0, self._jitter_s), until_s))
        return sorted(sent)
