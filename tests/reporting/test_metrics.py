"""What a scrape tells of a run: every metric from a tally, and nothing that came from a row."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from batchkms._version import __version__
from batchkms.quota import Group, Quotas
from batchkms.records import EarlierResult, ErrorClass, Result
from batchkms.reporting.metrics import (
    BUCKETS_S,
    CLASSES,
    LOADTEST,
    LOADTEST_CALLS,
    LOADTEST_LATENCY,
    RUN,
    SINCE_SCHEDULE,
    SINCE_SEND,
    RunCollector,
    buckets,
)
from batchkms.tally import Tally
from tests.scripted import Scripted, always, engine_for

Labels = tuple[tuple[str, str], ...]
Samples = dict[tuple[str, Labels], float]


def _samples(text: str, *, openmetrics: bool = False) -> Samples:
    parse = openmetrics_families if openmetrics else text_string_to_metric_families
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def _scraped(collector: RunCollector) -> Samples:
    """What one scrape tells: the same in both formats."""
    registry = CollectorRegistry()
    registry.register(collector)
    plain = _samples(generate_latest(registry).decode())
    modern: bytes = generate_openmetrics(registry)  # type: ignore[no-untyped-call]  # it has none
    assert plain == _samples(modern.decode(), openmetrics=True)
    return plain


def _failed(seq: int, error_class: str, *, text: str = "i", kind: type[Result] = Result) -> Result:
    return kind(
        seq=seq,
        id=text,
        status="failed",
        key_id=text,
        error_class=error_class,  # type: ignore[arg-type]  # any text, as a file may have it
        code=text,
        attempts=1,
    )


def _ok(seq: int, latency_ms: float | None = None) -> Result:
    return Result(seq=seq, id="i", status="ok", key_id="k", attempts=1, latency_ms=latency_ms)


def test_all_of_a_run_is_told() -> None:
    tally = Tally()
    tally.rows, tally.kept, tally.in_flight = 10, 2, 3
    tally.throttled = 4
    tally.called(1.0, again=False)
    tally.called(2.0, again=True)
    for result in (_ok(1, 12.0), _ok(2, 80.0), _failed(3, "internal"), _failed(4, "network")):
        tally.count(result)
    told = _scraped(RunCollector("encrypt", tally))
    version = (("command", "encrypt"), ("version", __version__))
    rows = {labels[0][1]: n for (name, labels), n in told.items() if name == "batchkms_rows_total"}
    assert told["batchkms_info", version] == 1
    assert rows == dict.fromkeys(CLASSES, 0) | {"ok": 2, "internal": 1, "network": 1}
    alone = {name: value for (name, labels), value in told.items() if not labels}
    assert alone == {
        "batchkms_input_rows_total": 10,
        "batchkms_kept_rows": 2,
        "batchkms_calls_total": 2,
        "batchkms_retries_total": 1,
        "batchkms_throttled_total": 4,
        "batchkms_queue_rows": 0,
        "batchkms_in_flight_calls": 3,
        "batchkms_outage": 0,
        "batchkms_call_latency_seconds_count": 2,
        "batchkms_call_latency_seconds_sum": pytest.approx(0.092),
    }


async def test_the_engine_and_the_quotas_are_told_once_they_are_there() -> None:
    tally = Tally()
    tally.rows = 4
    tally.count(_ok(1))
    collector = RunCollector("reencrypt", tally)
    before = _scraped(collector)
    engine = engine_for(Scripted(always("ok")), tally=tally)
    quotas = Quotas({Group.REENCRYPT: 100, Group.SOURCE: 30, Group.CRYPT: None})
    read = [0.5]
    collector.watch(engine, quotas, consumed=lambda: read[0])
    limit = "batchkms_rate_limit_calls_per_second"
    more = {key: value for key, value in _scraped(collector).items() if key not in before}
    assert more == {
        (limit, (("group", "reencrypt"),)): 100,
        (limit, (("group", "source"),)): 30,
        ("batchkms_input_share", ()): pytest.approx(0.5 / 4),
    }
    quotas.change({Group.REENCRYPT: 70})
    assert _scraped(collector)[limit, (("group", "reencrypt"),)] == 70


def test_every_family_is_told_under_its_names() -> None:
    tally = Tally()
    tally.exhausted = True
    tally.count(_ok(1, 5.0))
    collector = RunCollector("encrypt", tally)
    engine = engine_for(Scripted(always("ok")), tally=tally)
    collector.watch(engine, Quotas({Group.CRYPT: 5}), consumed=lambda: None)
    told = {name for name, _ in _scraped(collector)}
    assert told == {"batchkms_info"} | {name for family in RUN for name in family.sample_names}


def test_counters_never_go_down() -> None:
    tally = Tally()
    collector = RunCollector("encrypt", tally)
    for _ in range(3):
        tally.called(1.0, again=True)
    assert _scraped(collector)["batchkms_calls_total", ()] == 3
    tally.not_called(again=True)
    told = _scraped(collector)
    assert told["batchkms_calls_total", ()] == told["batchkms_retries_total", ()] == 3
    for _ in range(2):
        tally.called(1.0, again=True)
    assert _scraped(collector)["batchkms_calls_total", ()] == 4


@given(st.lists(st.text(max_size=20), max_size=10))
def test_no_label_value_comes_from_a_row(texts: list[str]) -> None:
    tally = Tally()
    for seq, text in enumerate(texts, 1):
        tally.count(_failed(seq, text, text=text, kind=EarlierResult))
        tally.count(Result(seq=seq, id=text, status="ok", key_id=text, attempts=1))
    told = _scraped(RunCollector("encrypt", tally))
    values = {value for _, labels in told for name, value in labels if name != "le"}
    assert values <= {"encrypt", __version__, "ok", "failed", *CLASSES}
    rows = sum(value for (name, _), value in told.items() if name == "batchkms_rows_total")
    assert rows == 2 * len(texts)


@given(st.lists(st.floats(0.001, 70_000.0), max_size=200))
def test_a_bucket_holds_what_is_not_above_its_bound(latencies_ms: list[float]) -> None:
    tally = Tally()
    for seq, latency_ms in enumerate(latencies_ms, 1):
        tally.count(_ok(seq, latency_ms))
    told = buckets(tally.latency)
    assert told[-1] == ("+Inf", len(latencies_ms))
    for bound_s, (text, held) in zip(BUCKETS_S, told[:-1], strict=True):
        assert float(text) == bound_s
        # The histogram keeps three digits.
        least, most = bound_s * 1e3 * 0.998, bound_s * 1e3 * 1.002
        assert sum(each <= least for each in latencies_ms) <= held
        assert held <= sum(each <= most for each in latencies_ms)
    assert tally.latency.sum_us == pytest.approx(
        math.fsum(latencies_ms) * 1e3, abs=len(latencies_ms)
    )


def test_the_load_test_finds_its_metrics_made() -> None:
    made = LOADTEST_CALLS.of({("encrypt", "ok"): 5, ("decrypt", "throttled"): 1})
    assert [(each.name, each.labels, each.value) for each in made.samples] == [
        ("batchkms_loadtest_calls_total", {"action": "encrypt", "class": "ok"}, 5),
        ("batchkms_loadtest_calls_total", {"action": "decrypt", "class": "throttled"}, 1),
    ]
    tally = Tally()
    tally.count(_ok(1, 5.0))
    one = tally.latency
    metric = LOADTEST_LATENCY.of_latencies({SINCE_SCHEDULE: one, SINCE_SEND: one})
    assert {sample.name for sample in metric.samples} == set(LOADTEST_LATENCY.sample_names)
    assert {sample.labels["since"] for sample in metric.samples} == {"schedule", "send"}
    assert all(family.name.startswith("batchkms_loadtest_") for family in LOADTEST)


def test_classes_are_those_of_the_results() -> None:
    assert set(CLASSES) == {"ok", *ErrorClass}


def test_the_library_is_loaded_only_when_metrics_are_asked_for() -> None:
    code = "import batchkms.cli.batch, batchkms.cli.verify, batchkms.options, sys; "
    code += "print('prometheus_client' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "False\n"
