"""The end of a load test: its exit code, and its summary as JSON and text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batchkms.errors import OutputError
from batchkms.loadtest.call import Call
from batchkms.loadtest.runrecord import RunRecord, SloRecord
from batchkms.loadtest.summary import LoadSummary
from batchkms.reporting.summary import Exit
from tests.loadtest.calls import call, record, statistics

HELD = SloRecord(text="p99<50ms", held=True, measured=12.34)
FAILED = SloRecord(text="errors<0.1%", held=False, measured=0.02)

FINE = [call(n / 100, 0.01) for n in range(1_000)]
THROTTLED = call(9, 0.001, "throttled", code="RequestLimitExceeded", request_id="r-1")
REFUSED = call(9, 0.001, "invalid_request", code="InvalidParameter", request_id="r-2")


def _summary(calls: list[Call], of: RunRecord | None = None, **more: Any) -> LoadSummary:
    figures = statistics(*calls)
    return LoadSummary(record=of or record(), statistics=figures, wall_s=10.3, **more)


def _max_rate(rate: float, limited_by: str) -> dict[str, Any]:
    return {"rate": rate, "limited_by": limited_by, "confidence": "held in 4 of 4 steps"}


@pytest.mark.parametrize(
    ("calls", "of", "expected"),
    [
        (FINE, {}, Exit.OK),
        # Errors are figures, as long as anything else was seen and no SLO forbids them.
        ([*FINE, THROTTLED, REFUSED], {}, Exit.OK),
        ([THROTTLED], {}, Exit.ALL_RETRYABLE),
        ([REFUSED], {}, Exit.SOME_FAILED),
        ([THROTTLED, REFUSED], {}, Exit.SOME_FAILED),
        ([THROTTLED], {"slos": [HELD]}, Exit.ALL_RETRYABLE),
        (FINE, {"slos": [HELD]}, Exit.OK),
        (FINE, {"slos": [HELD, FAILED]}, Exit.THRESHOLD),
        ([THROTTLED], {"slos": [FAILED]}, Exit.THRESHOLD),
        (FINE, {"invalid": ["the generator was late"]}, Exit.THRESHOLD),
        (FINE, {"state": "aborted"}, Exit.THRESHOLD),
        (FINE, {"state": "interrupted"}, Exit.INTERRUPTED),
        (FINE, {"state": "interrupted", "slos": [FAILED]}, Exit.INTERRUPTED),
        ([], {}, Exit.NO_RECORDS),
        (FINE, {"max_rate": _max_rate(213.4, "server")}, Exit.OK),
        (FINE, {"max_rate": _max_rate(180.0, "most")}, Exit.OK),
        (FINE, {"max_rate": _max_rate(0.0, "server")}, Exit.THRESHOLD),
        (FINE, {"max_rate": _max_rate(300.0, "generator")}, Exit.THRESHOLD),
        (FINE, {"max_rate": _max_rate(150.0, "time")}, Exit.THRESHOLD),
    ],
)
def test_the_exit_code_says_how_it_ended(
    calls: list[Call], of: dict[str, Any], expected: Exit
) -> None:
    assert _summary(calls, record(**of)).exit_code is expected


def test_an_error_that_ended_it_is_exit_code_3() -> None:
    summary = _summary(FINE, record(state="aborted"), error=OutputError("disk full", hint="room"))
    assert summary.exit_code is Exit.STOPPED
    assert summary.as_json()["error"] == {"message": "disk full", "hint": "room"}


def test_the_json_has_the_shape_that_programs_expect() -> None:
    summary = _summary([*FINE, THROTTLED], output="out.jsonl", files={"junit": "junit.xml"})
    content = json.loads(json.dumps(summary.as_json()))
    assert content["valid"] is True
    assert content["rate"]["target"] == 100.0
    assert content["rate"]["achieved"] == pytest.approx(100, rel=0.01)
    for source in ("from_schedule", "from_send"):
        assert list(content["latency_ms"][source]) == ["p50", "p90", "p99", "p999", "max"]
        assert content["latency_ms"][source]["p99"] <= content["latency_ms"][source]["max"]
    assert content["classes"] == {"ok": 1_000, "throttled": 1}
    assert content["codes"] == {
        "RequestLimitExceeded": {
            "class": "throttled",
            "calls": 1,
            "first_s": 9.001,
            "request_ids": ["r-1"],
        }
    }
    assert content["actions"]["encrypt"]["classes"] == {"ok": 1_000, "throttled": 1}
    assert (content["command"], content["exit_code"], content["state"]) == (
        "loadtest",
        0,
        "finished",
    )
    assert (content["output"], content["report"]) == ("out.jsonl", None)
    assert content["files"] == {"junit": "junit.xml"}
    assert content["max_rate"] is None
    assert content["generator"]["cpu_share"] == 0.25
    assert content["connections"]["opened"] == 12


def test_the_figures_of_the_json_are_those_of_the_calls() -> None:
    calls = [call(n / 100, (n + 1) / 1000, sent=n / 100 + 0.0005) for n in range(1_000)]
    content = _summary(calls).as_json()
    expected = {"p50": 500, "p90": 900, "p99": 990, "p999": 999, "max": 1000}
    measured = content["latency_ms"]["from_schedule"]
    assert measured == {name: pytest.approx(ms, rel=0.002) for name, ms in expected.items()}
    assert content["latency_ms"]["from_send"]["max"] == pytest.approx(999.5)


def test_without_calls_latencies_are_null() -> None:
    content = _summary([]).as_json()
    assert set(content["latency_ms"]["from_schedule"].values()) == {None}
    assert content["classes"] == {"ok": 0}
    assert content["rate"]["achieved"] == 0


def test_the_text_of_a_run() -> None:
    calls = [*FINE, THROTTLED, call(1, warmup=True)]
    lines = _summary(
        calls, record(slos=[HELD], notes=["a note"]), output="out.jsonl", report="out.html"
    ).as_text()
    assert lines[:3] == [
        "finished: 1,001 calls in 10.3 s, 1,000 ok, 1 failed; 1 call of the warm-up not counted",
        "  throttled: 1 (RequestLimitExceeded 1; for example request r-1)",
        "rate: 100.10/s sent of 100/s asked, 100.00/s ok",
    ]
    assert lines[3].startswith("latency ms from schedule: p50 10.0  p90 10.0  p99 10.0  p99.9 10.0")
    assert lines[4].startswith("latency ms from send:     p50 10.0")
    assert lines[5].startswith("connections: 12 opened, 8 at once; connect ms: p50 0.3  max 1.2; ")
    assert lines[6].startswith("generator: 25% of a core, 0.10% of calls late by itself")
    assert lines[7:] == [
        "slo p99<50ms: held, 12.3 ms",
        "note: a note",
        "results: out.jsonl",
        "report: out.html",
        "next: that is the quota: lower --rate, or find what it allows with --find-max (1 call)",
    ]


def test_the_text_says_what_did_not_hold_and_why_it_is_not_valid() -> None:
    windows = SloRecord(
        text="p99<50ms", held=False, measured=73.2, windows=6, failed_windows=[20.0, 30.0]
    )
    well = SloRecord(text="throttled==0", held=True, measured=0, windows=6)
    of = record(slos=[FAILED, windows, well], invalid=["3% of calls were begun late"])
    lines = _summary(FINE, of).as_text()
    assert "slo errors<0.1%: FAILED, 2%" in lines
    assert "slo p99<50ms: FAILED in 2 of 6 windows, first at 20 s, at worst 73.2 ms" in lines
    assert "slo throttled==0: held in all of 6 windows, at worst 0" in lines
    assert "not valid: 3% of calls were begun late" in lines
    assert lines[-1].startswith("next: the figures are the generator's, not the service's")


def test_the_text_has_the_highest_rate() -> None:
    lines = _summary(FINE, record(max_rate=_max_rate(213.4, "server"))).as_text()
    assert lines[lines.index("max rate: 213.4/s") + 1] == "  held in 4 of 4 steps"


def test_advice_comes_once_for_each_and_the_most_frequent_first() -> None:
    calls = [call(1, outcome="network", code="ConnectTimeout"), *[REFUSED] * 3]
    calls.append(call(1, outcome="network", code="ConnectionRefused"))
    assert _summary(calls).next_steps() == [
        "correct what the service refused: see the codes (3 calls)",
        "the server was too slow for --timeout and --connect-timeout: lower the rate, or wait "
        "longer (1 call)",
        "check --endpoint and the network, then try again (1 call)",
    ]


def test_more_codes_than_can_be_named_are_counted() -> None:
    calls = [call(1, outcome="unknown", code=f"New{n}") for n in range(7)]
    line = _summary(calls).as_text()[1]
    assert line == "  unknown: 7 (New0 1, New1 1, New2 1, New3 1, 3 more codes)"
