"""What a load test did when: windows of a second, and of more the longer it takes."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from batchkms.latency import Latencies, SparseLatencies, buckets_of
from batchkms.loadtest.call import OK, Call

MOST_WINDOWS = 600
"""More of them are not told apart in a plot; then each becomes twice as long."""

LOOSE_S, LEAST_LOOSE = 16, 4
"""The windows of so many seconds, and so many at least, may be counted in without unpacking them:
those that came last. Nearly all calls end that soon, and a packed window takes a tenth."""


@dataclass(slots=True)
class Window:
    """One window. A call is `asked` for and has its latency where it was due, wherever it ended.

    `done` counts the calls that ended in it, by class; `sent` those whose first byte was written.
    """

    asked: int = 0
    sent: int = 0
    done: Counter[str] = field(default_factory=Counter)
    from_schedule: SparseLatencies = field(default_factory=SparseLatencies)
    from_send: SparseLatencies = field(default_factory=SparseLatencies)

    def pack(self) -> None:
        """Takes a tenth of the memory from now on."""
        self.from_schedule.pack()
        self.from_send.pack()

    def add(self, other: Window) -> None:
        """Counts all that another window has."""
        self.asked += other.asked
        self.sent += other.sent
        self.done.update(other.done)
        self.from_schedule.add(other.from_schedule)
        self.from_send.add(other.from_send)


@dataclass(frozen=True, slots=True)
class Counted:
    """Latencies of a batch of calls, in buckets."""

    buckets: Mapping[int, int]
    sum_us: int
    max_us: int

    @classmethod
    def of(cls, values_us: Sequence[int]) -> Counted:
        """These, in microseconds."""
        return cls(buckets_of(values_us), sum(values_us), max(values_us))

    def add_to(self, latencies: Latencies) -> None:
        """Counts them all there."""
        latencies.count_buckets(self.buckets, sum_us=self.sum_us, max_us=self.max_us)


@dataclass(frozen=True, slots=True)
class Batch:
    """Calls that were sent, and succeeded: when they were due, sent and done, in seconds."""

    due: Sequence[float]
    sent: Sequence[float]
    done: Sequence[float]
    from_schedule: Counted
    from_send: Counted


class Timeline:
    """The windows of a run, the first one beginning at its first scheduled moment.

    Memory is bounded: when there are too many windows, each two become one, without loss.
    """

    def __init__(self) -> None:
        self.window_s = 1
        self._windows: dict[int, Window] = {}
        self._loose: deque[Window] = deque()

    def count(self, call: Call, from_schedule_us: int, from_send_us: int) -> None:
        """Counts one call where it was due, where it was sent and where it ended.

        Its latencies are in microseconds; the second one means nothing if it was never sent.
        """
        # Of twenty thousand calls a second nearly all find their windows there.
        due_s, sent_s = call.scheduled, call.sent
        due = self._windows.get(int(due_s / self.window_s)) or self._window(due_s)
        due.asked += 1
        if due.from_schedule.packed:
            self._loosened(due)
        due.from_schedule.count_us(from_schedule_us)
        if sent_s is not None:
            due.from_send.count_us(from_send_us)
            sent = self._windows.get(int(sent_s / self.window_s)) or self._window(sent_s)
            sent.sent += 1
        self._window(call.done).done[call.outcome] += 1

    def count_all(self, batch: Batch) -> bool:
        """Counts calls that were all due, sent and done in one window each; whether they were."""
        windows = [self._common(times) for times in (batch.due, batch.sent, batch.done)]
        due, sent, done = windows
        if due is None or sent is None or done is None:
            return False
        due.asked += len(batch.due)
        sent.sent += len(batch.sent)
        done.done[OK] += len(batch.done)
        if due.from_schedule.packed:
            self._loosened(due)
        due.from_schedule.count_buckets(
            batch.from_schedule.buckets, max_us=batch.from_schedule.max_us
        )
        due.from_send.count_buckets(batch.from_send.buckets, max_us=batch.from_send.max_us)
        return True

    def _common(self, times_s: Sequence[float]) -> Window | None:
        """The window that is there and that all these moments are in; None if there is none."""
        first = int(min(times_s) / self.window_s)
        if first != int(max(times_s) / self.window_s):
            return None
        return self._windows.get(first)

    def windows(self) -> list[tuple[float, Window]]:
        """Every window up to the last one with anything in it, and when it begins, in seconds."""
        return self.last(MOST_WINDOWS)

    def last(self, most: int) -> list[tuple[float, Window]]:
        """The last windows, so many at the most."""
        last = max(self._windows, default=-1)
        return [
            (float(number * self.window_s), self._windows.get(number) or Window())
            for number in range(max(0, last + 1 - most), last + 1)
        ]

    def _window(self, seconds: float) -> Window:
        number = max(0, int(seconds / self.window_s))
        while number >= MOST_WINDOWS:
            self._halve()
            number = max(0, int(seconds / self.window_s))
        found = self._windows.get(number)
        if found is None:
            found = self._windows[number] = Window()
            self._loosened(found)
        return found

    def _loosened(self, window: Window) -> None:
        """Packs the window that was loose for longest, if there is one too many."""
        self._loose.append(window)
        if len(self._loose) > max(LEAST_LOOSE, LOOSE_S // self.window_s):
            self._loose.popleft().pack()

    def _halve(self) -> None:
        before, self._windows = self._windows, {}
        self.window_s *= 2
        for number, window in before.items():
            kept = self._windows.setdefault(number // 2, window)
            if kept is not window:
                kept.add(window)
                kept.pack()
        self._loose.clear()
