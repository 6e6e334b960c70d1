"""Counts of several lots are those of all their rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batchkms.records import EarlierResult, ErrorClass, Result
from batchkms.tally import Tally
from batchkms.team.counts import Counts

_SEQ = st.integers(1, 99)
_OK = st.builds(
    lambda seq, key_id, latency_ms, attempts, reencrypted: Result(
        seq=seq,
        id=str(seq),
        status="ok",
        key_id=key_id,
        latency_ms=latency_ms,
        attempts=attempts,
        request_id=f"r{seq}",
        reencrypted=reencrypted,
    ),
    *(_SEQ, st.sampled_from(["a", "b", None]), st.none() | st.floats(0, 1e4)),
    *(st.integers(0, 2), st.sampled_from([None, True, False])),
)
_FAILED = st.builds(
    lambda kind, seq, code: kind(
        seq=seq,
        id=str(seq),
        status="failed",
        error_class=ErrorClass.INTERNAL,
        code=code,
        message="m",
        attempts=1,
    ),
    *(st.sampled_from([Result, EarlierResult]), _SEQ, st.sampled_from(["x", "y"])),
)
_LOTS = st.lists(st.lists(_OK | _FAILED, min_size=1, max_size=6), min_size=1, max_size=4)


@given(_LOTS)
def test_counts_of_several_lots_are_those_of_one_with_all_their_rows(
    lots: list[list[Result]],
) -> None:
    all_of_them = [result for lot in lots for result in lot]
    together = Counts.together([Counts.of(lot) for lot in lots])
    assert together == Counts.of(all_of_them)
    assert together.rows == len(all_of_them)
    tally = Tally()
    together.add_to(tally)
    assert (tally.done, tally.ok) == (len(all_of_them), sum(result.ok for result in all_of_them))
    # A row for which no call was made names that of another one.
    assert together.request_ids == [
        result.request_id for result in all_of_them if result.ok and result.attempts
    ]
