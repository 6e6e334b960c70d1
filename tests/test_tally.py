"""The counters of a run: what counts as what."""

from __future__ import annotations

import pytest

from batchkms.records import ErrorClass, Result, rejected
from batchkms.tally import Tally


def done(seq: int, *, latency_ms: float | None = 12.5) -> Result:
    return Result(
        seq=seq, id="i", status="ok", key_id="k", ciphertext="c", attempts=1, latency_ms=latency_ms
    )


def test_results_are_counted_by_class_code_and_key() -> None:
    tally = Tally()
    for seq in (1, 2):
        tally.count(done(seq))
    tally.count(rejected(3, None, "InvalidJson", "m"))
    tally.count(rejected(4, None, "EmptyPlaintext", "m"))
    assert (tally.ok, tally.failed, tally.done) == (2, 2, 4)
    assert tally.by_class == {ErrorClass.INVALID_RECORD: 2}
    assert tally.by_code == {"InvalidJson": 1, "EmptyPlaintext": 1}
    assert tally.by_key == {"k": 2}


def test_calls_and_their_time() -> None:
    tally = Tally()
    assert tally.calling_s == 0.0
    tally.called(10.0, again=False)
    assert tally.calling_s == 0.0
    tally.called(11.0, again=True)
    tally.called(14.5, again=False)
    assert (tally.calls, tally.retries, tally.calling_s) == (3, 1, 4.5)


@pytest.mark.parametrize("latency_ms", [0.0, 0.001, 1.0, 99.9, 10_000.0])
def test_latency_is_kept_to_three_digits(latency_ms: float) -> None:
    tally = Tally()
    tally.count(done(1, latency_ms=latency_ms))
    assert tally.latency.total == 1
    assert tally.latency.percentile_ms(50) == pytest.approx(latency_ms, rel=0.001)


def test_a_row_without_a_call_has_no_latency() -> None:
    tally = Tally()
    tally.count(done(1, latency_ms=None))
    tally.count(rejected(2, None, "InvalidJson", "m"))
    assert tally.latency.total == 0
