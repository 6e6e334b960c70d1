"""Exit codes and the summary, from counts alone."""

from __future__ import annotations

import json

import pytest

from batchkms.errors import RunStopped, verdict_for
from batchkms.records import ErrorClass, Result
from batchkms.reporting.summary import Exit, State, Summary, exit_code
from batchkms.tally import Tally


def _tally(*codes: str | None) -> Tally:
    """A tally of rows that ended with these codes; None was ok."""
    tally = Tally()
    for seq, code in enumerate(codes, start=1):
        tally.rows += 1
        tally.count(
            Result(
                seq=seq,
                id=str(seq),
                status="failed" if code else "ok",
                key_id="k",
                error_class=verdict_for(code).error_class if code else None,
                code=code,
                attempts=1,
                latency_ms=float(seq),
            )
        )
    return tally


def _summary(tally: Tally, state: State = State.FINISHED, **more: object) -> Summary:
    values = {"command": "encrypt", "output": "out.jsonl", "manifest": None, "rate": 300}
    return Summary(state=state, tally=tally, wall_s=2.0, **{**values, **more})  # type: ignore[arg-type]  # given by name


@pytest.mark.parametrize(
    ("codes", "state", "expected"),
    [
        ((), State.FINISHED, Exit.NO_RECORDS),
        ((None,), State.FINISHED, Exit.OK),
        ((None, "EmptyPlaintext"), State.FINISHED, Exit.SOME_FAILED),
        ((None, "InternalError"), State.FINISHED, Exit.ALL_RETRYABLE),
        (("InternalError", "RequestLimitExceeded"), State.FINISHED, Exit.ALL_RETRYABLE),
        (("InternalError", "EmptyPlaintext"), State.FINISHED, Exit.SOME_FAILED),
        (("NeverHeardOf",), State.FINISHED, Exit.SOME_FAILED),
        ((None,), State.STOPPED, Exit.STOPPED),
        ((), State.STOPPED, Exit.STOPPED),
        ((None, "EmptyPlaintext"), State.INTERRUPTED, Exit.INTERRUPTED),
    ],
)
def test_the_exit_code_says_how_it_ended(
    codes: tuple[str | None, ...], state: State, expected: Exit
) -> None:
    assert exit_code(_tally(*codes), state) is expected


def test_the_text_counts_by_class_and_says_what_to_do_next() -> None:
    lines = _summary(_tally(None, None, "EmptyPlaintext", "EmptyPlaintext", "InternalError"))
    text = lines.as_text()
    assert text[0] == "finished: 5 rows in 2.0 s, 2 ok, 3 failed"
    assert text[1:3] == [
        "  invalid_record: 2 (EmptyPlaintext 2)",
        "  internal: 1 (InternalError 1)",
    ]
    assert text[-3] == "results: out.jsonl"
    assert text[-2].startswith("next: correct the rows that their messages name")
    assert text[-1] == "next: try again later: the fault is the service's own (1 row)"


def test_the_json_is_plain_json() -> None:
    error = RunStopped("it broke", hint="mend it")
    summary = _summary(_tally("EmptyPlaintext"), State.STOPPED, error=error)
    content = json.loads(json.dumps(summary.as_json()))
    assert content["error"] == {"message": "it broke", "hint": "mend it"}
    assert (content["state"], content["exit_code"]) == ("stopped", 3)
    assert content["classes"] == {ErrorClass.INVALID_RECORD.value: 1}
    assert content["latency_ms"]["max"] == pytest.approx(1.0, rel=0.01)


def test_latency_percentiles_are_of_the_rows() -> None:
    latency_ms = _summary(_tally(*[None] * 1000)).latency_ms()
    expected = {"p50": 500, "p90": 900, "p99": 990, "p999": 999, "max": 1000}
    assert latency_ms == {name: pytest.approx(ms, rel=0.01) for name, ms in expected.items()}


def test_what_to_mend_comes_before_going_on() -> None:
    tally = _tally(None, "UnauthorizedOperation")
    again = "run the same command again with --resume"
    stopped = _summary(tally, State.STOPPED, manifest="out.jsonl.run.json").next_steps()
    assert "kms:Decrypt" in stopped[0]
    assert stopped[-1] == f"when that is mended, {again}"
    interrupted = _summary(_tally(None), State.INTERRUPTED, manifest="out.jsonl.run.json")
    assert interrupted.next_steps() == [again]
