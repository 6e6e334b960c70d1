"""SLOs: what can be written, what is told of a mistake, and when one holds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkms.errors import BadValue
from batchkms.loadtest.slo import COUNTED, Slo, parse_slo, parse_slos
from tests.loadtest.calls import call, statistics

HUNDRED = statistics(*(call(n / 10, (n + 1) / 1000) for n in range(100)))
"""A call every 100 ms, latencies from 1 to 100 ms."""


@pytest.mark.parametrize(
    ("text", "kind", "metric", "operator", "limit", "from_send"),
    [
        ("p99<50ms", "latency", "99", "<", 50, False),
        ("p99.9 <= 1s", "latency", "99.9", "<=", 1000, False),
        ("p50>100us", "latency", "50", ">", 0.1, False),
        ("max<2m", "latency", "max", "<", 120_000, False),
        ("mean<0.7ms", "latency", "mean", "<", 0.7, False),
        (" send.p99<20ms ", "latency", "99", "<", 20, True),
        ("send.max<20µs", "latency", "max", "<", 0.02, True),
        ("errors<0.1%", "share", "errors", "<", 0.001, False),
        ("ok>=99.9%", "share", "ok", ">=", 0.999, False),
        ("throttled==0", "count", "throttled", "==", 0, False),
        ("network<=5", "count", "network", "<=", 5, False),
        ("internal<1%", "share", "internal", "<", 0.01, False),
        ("rate>=299.5", "rate", "rate", ">=", 299.5, False),
        ("rate>=299.5/s", "rate", "rate", ">=", 299.5, False),
    ],
)
def test_what_can_be_written(
    text: str, kind: str, metric: str, operator: str, limit: float, from_send: bool
) -> None:
    slo = parse_slo(text)
    assert (slo.kind, slo.metric, slo.operator) == (kind, metric, operator)
    assert slo.limit == pytest.approx(limit)
    assert (slo.from_send, slo.text) == (from_send, text.strip())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "takes a metric, one of < <= > >= == and a limit"),
        ("p99", "takes a metric"),
        ("p99=50ms", "takes a metric"),
        ("p99!=50ms", "takes a metric"),
        ("p99<50ms<60ms", "takes a metric"),
        ("p99<50", "takes a time such as 100us, 50ms or 1s as the limit of p99"),
        ("p99<0ms", "takes a time"),
        ("p99<-5ms", "takes a time"),
        ("send.p99<5%", "as the limit of send.p99"),
        ("p999<1s", "the nearest is 'p99.9'"),
        ("p0<1s", "above 0 and up to 100"),
        ("latency<1s", "has no metric 'latency'"),
        ("error<1%", "has no metric 'error'; the nearest is 'errors'"),
        ("throtled==0", "the nearest is 'throttled'"),
        ("send.p<1s", "the nearest is 'send.p"),
        ("send.errors==0", "has no metric 'send.errors'"),
        ("errors<101%", "takes a share from 0% to 100%"),
        ("errors<0.1", "takes a number of calls such as 5, or a share such as 0.1%"),
        ("errors<5ms", "takes a number of calls"),
        ("rate>=5%", "takes a number of calls per second"),
        ("rate>=fast", "takes a number of calls per second"),
    ],
)
def test_what_is_told_of_a_mistake(text: str, told: str) -> None:
    with pytest.raises(BadValue) as raised:
        parse_slo(text)
    assert told in str(raised.value)


@settings(deadline=None)
@given(st.text("psend.rorsmaxu019<=>% \0é", max_size=16))
def test_any_text_is_an_slo_or_a_bad_value(text: str) -> None:
    try:
        assert isinstance(parse_slo(text), Slo)
    except BadValue as error:
        assert str(error)


@given(
    st.sampled_from(["p50", "p99.99", "max", "mean", "send.p99", "errors", "rate", *COUNTED]),
    st.sampled_from(["<", "<=", ">", ">=", "=="]),
    st.integers(0, 10**6),
)
def test_every_metric_takes_every_operator(metric: str, operator: str, number: int) -> None:
    latency = metric[0] == "p" and metric[1].isdigit()
    latency = latency or metric in ("max", "mean") or metric.startswith("send.")
    limit = f"{number + 1}ms" if latency else str(number)
    slo = parse_slo(f"{metric}{operator}{limit}")
    assert slo.limit == number + (1 if latency else 0)
    verdict = slo.judge(HUNDRED)
    expected = {
        "<": verdict.measured < slo.limit,
        "<=": verdict.measured <= slo.limit,
        ">": verdict.measured > slo.limit,
        ">=": verdict.measured >= slo.limit,
        "==": verdict.measured == slo.limit,
    }
    assert verdict.held == expected[operator]


@pytest.mark.parametrize(
    ("text", "held", "measured"),
    [
        ("p99<100ms", True, 99),
        ("p99<99ms", False, 99),
        ("p50<=51ms", True, 50),
        ("max<=100ms", True, 100),
        ("max<100ms", False, 100),
        ("mean<51ms", True, 50.5),
        ("errors==0", True, 0),
        ("ok>=100%", True, 1),
        ("throttled<1", True, 0),
        ("rate>=9.9", True, 10),
        ("rate>=10.1", False, 10),
    ],
)
def test_what_is_measured(text: str, held: bool, measured: float) -> None:
    verdict = parse_slo(text).judge(HUNDRED)
    assert verdict.held is held
    assert verdict.measured == pytest.approx(measured, rel=0.002)


def test_errors_are_every_class_but_ok() -> None:
    figures = statistics(
        *(call(n, outcome="ok") for n in range(97)),
        *(call(n, outcome="throttled") for n in range(2)),
        call(98, outcome="unknown"),
    )
    verdicts = [
        parse_slo(text).judge(figures) for text in ("errors<3%", "errors<=3", "throttled<3%")
    ]
    assert [verdict.held for verdict in verdicts] == [False, True, True]
    assert [verdict.measured for verdict in verdicts] == [0.03, 3, 0.02]


def test_from_send_is_not_from_schedule() -> None:
    figures = statistics(*(call(0, 5.0, sent=4.99) for _ in range(10)))
    assert not parse_slo("p99<20ms").judge(figures).held
    assert parse_slo("send.p99<20ms").judge(figures).held


@pytest.mark.parametrize("text", ["p99<50ms", "errors<0.1%", "throttled==0", "rate>=0", "max<1s"])
def test_no_call_at_all_shows_nothing(text: str) -> None:
    assert not parse_slo(text).judge(statistics()).held


def test_calls_that_were_never_sent_show_nothing_about_sending() -> None:
    figures = statistics(call(0, 1, outcome="network", sent=None))
    verdict = parse_slo("send.p99<50ms").judge(figures)
    assert (verdict.held, verdict.calls) == (False, 0)


@pytest.mark.parametrize(
    ("text", "measured", "written"),
    [
        ("p99<50ms", 41.27, "41.3 ms"),
        ("p99<50ms", 0.127, "0.127 ms"),
        ("max<5s", 4321.0, "4,321.0 ms"),
        ("errors<0.1%", 0.0005, "0.05%"),
        ("errors<0.1%", 0.0, "0%"),
        ("throttled==0", 1234.0, "1,234"),
        ("rate>=299.5", 299.876, "299.88/s"),
    ],
)
def test_measured_values_have_their_unit(text: str, measured: float, written: str) -> None:
    assert parse_slo(text).written(measured) == written


def test_the_worse_of_two_is_further_from_holding() -> None:
    below, above, exact = parse_slos(["p99<50ms", "rate>=10", "throttled==3"])
    assert below.worse(1, 2) == 2
    assert above.worse(1, 2) == 1
    assert exact.worse(0, 4) == 0
