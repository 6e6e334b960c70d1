"""What the display shows, from a tally and an owned clock."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from batchkms.records import ErrorClass, Result
from batchkms.reporting.progress import Meter, clock_text, rendered
from batchkms.tally import Tally


class _Run:
    """A run that a test moves on by hand."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.now = 100.0
        self.consumed: float | None = 0.0
        self.outage = False
        self.meter = Meter(
            "batchkms encrypt in → out",
            self.tally,
            consumed=lambda: self.consumed,
            queued=lambda: 12,
            outage=lambda: self.outage,
            clock=lambda: self.now,
        )

    def done(self, ok: int, failed: int = 0) -> None:
        for number in range(ok + failed):
            bad = number >= ok
            self.tally.rows += 1
            self.tally.count(
                Result(
                    seq=self.tally.rows,
                    id="a",
                    status="failed" if bad else "ok",
                    error_class=ErrorClass.INTERNAL if bad else None,
                    code="InternalError" if bad else None,
                    attempts=1,
                )
            )


def test_rates_and_eta_follow_the_clock() -> None:
    run = _Run()
    run.done(300)
    run.now += 1
    run.consumed = 0.1
    snapshot = run.meter.snapshot()
    assert (snapshot.rate_now, snapshot.rate_average) == (300, 300)
    assert snapshot.share == pytest.approx(0.1)
    assert snapshot.eta_s == pytest.approx(9.0)
    for _ in range(10):
        run.now += 1
        slow = run.meter.snapshot()
    assert slow.rate_now == 0
    assert slow.rate_average == pytest.approx(300 / 11)


def test_rows_that_were_read_ahead_do_not_count_as_done() -> None:
    run = _Run()
    run.done(100)
    run.tally.rows = 1_000
    run.consumed = 1.0
    assert run.meter.snapshot().share == pytest.approx(0.1)
    run.tally.exhausted = True
    snapshot = run.meter.snapshot()
    assert (snapshot.total, snapshot.done_text()) == (1_000, "100/1,000")


def test_a_pipe_has_neither_share_nor_eta() -> None:
    run = _Run()
    run.consumed = None
    run.done(5)
    run.now += 1
    snapshot = run.meter.snapshot()
    assert (snapshot.share, snapshot.eta_s, snapshot.done_text()) == (None, None, "5")


def test_the_log_line_holds_all_of_it() -> None:
    run = _Run()
    run.done(280, failed=20)
    run.now += 1
    run.consumed = 0.5
    run.outage = True
    assert run.meter.snapshot().line() == (
        "300 (50%) rows; 300/s now, 300/s average; ok 280; failed 20 (internal 20); retries 0; "
        "throttled 0; queue 12; ETA 0:01; waiting for the service"
    )


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("share", [None, 0.0, 0.5])
def test_the_display_fits_any_width(width: int, share: float | None) -> None:
    run = _Run()
    run.consumed = share
    run.done(1_234_567 // 100, failed=7)
    run.now += 1
    screen = io.StringIO()
    Console(file=screen, width=width, force_terminal=True).print(rendered(run.meter.snapshot()))
    shown = screen.getvalue()
    for told in ("batchkms encrypt", "ok", "failed", "internal 7", "queue 12"):
        assert told in " ".join(shown.split())


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (61, "1:01"), (100_000, "27:46:40")]
)
def test_spans_of_time_are_written_as_on_a_clock(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text
