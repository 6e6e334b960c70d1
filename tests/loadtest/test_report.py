"""The HTML of a load test: the verdict, every figure, and nothing that a server could slip in."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

import plotly.graph_objects as go
import pytest

from batchkms.loadtest.call import Call
from batchkms.loadtest.report import render_loadtest
from batchkms.loadtest.reportplots import plots_of
from batchkms.loadtest.runrecord import RunRecord, SloRecord, StageRecord
from batchkms.loadtest.statistics import Statistics
from batchkms.reporting.html.page import Plot
from tests.loadtest.calls import statistics
from tests.loadtest.samples import FAILED, HELD, calls, failed, record

HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(1)>'\"&\u202e\x1b[31m"


def counted(made: Sequence[Call]) -> Statistics:
    statistics = Statistics()
    for call in made:
        statistics.count(call)
    return statistics


def with_errors() -> list[Call]:
    made = list(calls())
    for number in range(0, 1000, 50):
        made[number] = failed(made[number], "throttled", "RequestLimitExceeded", f"id<{number}>")
    made[7] = failed(made[7], "unknown", HOSTILE, HOSTILE)
    return made


def rendered(made: Sequence[Call], *records: RunRecord, title: str = "a test", **more: Any) -> str:
    return render_loadtest(counted(made), records, title, **more)


class _Parts(HTMLParser):
    """The tags of a page, its text without scripts, and the scripts."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._within = ""
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._within = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within == "script":
            self.scripts[-1] += data
        elif not self._within:
            self.words.append(data)

    def plots(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.scripts[0])
        return content


def test_all_there_is_to_tell_is_told() -> None:
    noted = record(
        slos=[HELD],
        notes=["Something to know."],
        max_rate={"rate": 218.5, "confidence": "held", "steps": [{"rate": 200.0, "held": True}]},
    )
    parts = _Parts(rendered(with_errors(), noted))
    for word in (
        *("a test", "VALID", "Every SLO was held.", "Something to know.", "errors<50%", "held"),
        *("1,000", "100.0/s", "RequestLimitExceeded", "id<0>", "throttled", "2.1%", "218.5"),
        *("max-connections", "64", "10 s at 100/s", "encrypt 75%, decrypt 25%", "20.0% of a core"),
        *("http://127.0.0.1:8899", "2026-11-24 06:00:00 UTC", "From send, in ms"),
    ):
        assert word in parts.text, word
    assert list(parts.plots()) == ["latency", "percentiles", "throughput", "errors"]


@pytest.mark.parametrize(
    ("changes", "label", "sentence"),
    [
        ({}, "VALID", "did what was asked of it"),
        ({"invalid": ["It lagged."]}, "INVALID", "It lagged."),
        ({"invalid": ["It lagged."], "slos": [FAILED]}, "INVALID", "not the server's"),
        ({"slos": [HELD, FAILED]}, "VALID, SLO FAILED", "p99<50ms"),
        ({"state": "interrupted"}, "VALID", "interrupted before its end"),
    ],
)
def test_the_verdict_comes_first(changes: dict[str, Any], label: str, sentence: str) -> None:
    page = rendered(list(calls(100)), record(**changes))
    shown = re.search(r'<section class="verdict.*?</section>', page, re.DOTALL)
    assert shown and f"<strong>{label}</strong>" in shown[0]
    assert sentence in _Parts(shown[0]).text
    assert page.index('class="verdict') < page.index('class="tiles"')


def test_without_calls_or_record_it_is_still_a_report() -> None:
    empty = rendered([], record(state="interrupted"))
    assert "EMPTY" in empty and "<script" not in empty
    assert "script-src 'none'" in empty
    assert len(empty) < 20_000
    assert "UNKNOWN" in rendered(list(calls(1)))


def test_what_a_server_sends_is_text_and_nothing_else() -> None:
    hostile = record(
        endpoint=HOSTILE, settings={HOSTILE: HOSTILE}, invalid=[HOSTILE], notes=[HOSTILE]
    )
    page = rendered(with_errors(), hostile, title=HOSTILE, remarks=[HOSTILE], names=[HOSTILE])
    parts = _Parts(page)
    assert [tag for tag, _ in parts.tags if tag == "script"] == ["script"] * 3
    assert not [tag for tag, _ in parts.tags if tag in ("img", "iframe", "link", "a", "base")]
    assert not [name for _, attributes in parts.tags for name in attributes if name[:2] == "on"]
    # What would drive a terminal or turn the writing around is shown, not done.
    assert "\u202e" not in page and "\x1b" not in page and r"\u202e\x1b[31m" in parts.text
    assert "onerror=alert(1)" in parts.text


def test_the_policy_runs_our_scripts_alone_and_reaches_no_network() -> None:
    parts = _Parts(rendered(list(calls(100)), record()))
    policy = next(
        attributes["content"] or ""
        for tag, attributes in parts.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    digests = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in parts.scripts[1:]
    ]
    assert rules["script-src"].split() == digests
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data: blob:"
    assert not [attributes for _, attributes in parts.tags if attributes.get("src")]


def test_headings_tables_and_plots_can_be_read_aloud() -> None:
    page = rendered(with_errors(), record(slos=[FAILED]))
    parts = _Parts(page)
    levels = [int(tag[1]) for tag, _ in parts.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    tags = [tag for tag, _ in parts.tags]
    assert tags.count("table") == tags.count("caption") > 5
    names = {attributes["id"] for _, attributes in parts.tags if "id" in attributes}
    for tag, attributes in parts.tags:
        if tag == "th":
            assert attributes.get("scope") in ("col", "row")
        for reference in ("aria-labelledby", "aria-describedby"):
            assert attributes.get(reference) in (None, *names)
    assert 'lang="en"' in page


def _plots(made: Sequence[Call]) -> dict[str, Plot]:
    return {plot.name: plot for plot in plots_of(counted(made))}


def test_the_plots_show_what_was_counted() -> None:
    plots = _plots(with_errors())
    curves = {trace["name"]: trace["y"] for trace in plots["latency"].data}
    for lower, higher in (("p50", "p90"), ("p90", "p99"), ("p99", "max")):
        assert all(a <= b for a, b in zip(curves[lower], curves[higher], strict=True))
    rates = {trace["name"]: trace["y"] for trace in plots["throughput"].data}
    assert rates["asked"] == [100.0] * 10
    assert sum(rates["ok"]) == 1000 - 21
    errors = {trace["name"]: sum(trace["y"]) for trace in plots["errors"].data}
    assert errors == {"throttled": 20, "unknown": 1}
    for trace in plots["percentiles"].data:
        assert trace["y"] == sorted(trace["y"]) and trace["x"][0] == 1.0
        assert trace["x"][-1] == pytest.approx(1000)
    assert "errors" not in _plots(list(calls(100)))


def test_plotly_itself_knows_every_property_of_them() -> None:
    for plot in _plots(with_errors()).values():
        # Names of style variables are colors only once they are on the page.
        written = re.sub(r'"--\w+"', '"#123456"', json.dumps([plot.data, plot.layout]))
        data, layout = json.loads(written)
        assert len(go.Figure(data=data, layout=layout).data) == len(data)


def test_a_report_of_a_day_is_as_small_as_one_of_minutes() -> None:
    pause = 60.0
    day = [
        Call(number * pause, number * pause, number * pause + 0.01, "encrypt", "ok", 9)
        for number in range(1440)
    ]
    data = _Parts(rendered(day, record())).scripts[0]
    assert len(data) < 250_000


def test_several_generators_are_put_beside_each_other() -> None:
    records = [
        record(invalid=["It lagged."]),
        record(settings={"rate": 100, "duration": "10s", "max_connections": 32}),
    ]
    parts = _Parts(rendered(list(calls(100)), *records, names=["one.jsonl", "two.jsonl"]))
    assert "one.jsonl: It lagged." in parts.text
    assert "max-connections 64 32 differs" in parts.text
    # What was due in the time of both, and not the sum of rates that were not asked for together.
    assert "of 100.0/s asked" in parts.text


def test_a_small_record_makes_no_large_report() -> None:
    many = record(
        max_rate={"odd": "x", "steps": [{"rate": 1.0, f"key-{n}": 1} for n in range(2_500)]},
        slos=[SloRecord(text="p99<5ms", held=True, measured=1.0)] * 20_000,
        stages=[StageRecord(duration_s=1, from_rate=1, to_rate=2)] * 100_000,
    )
    html = render_loadtest(statistics(), [many], "t")
    bare = render_loadtest(statistics(), [record()], "t")
    assert len(html) < len(bare) + 150_000
    assert "key-1" not in html
    for more in ("… 2,300 more", "… 19,800 more", "… 99,992 more"):
        assert more in html
    empty = render_loadtest(statistics(), [record(max_rate={"steps": [{}]})], "t")
    assert "Its steps" not in empty
