"""The dashboard and the document name metrics that are served, and Grafana can import the one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchkms.reporting.metrics import INFO_NAME, LOADTEST, RUN, Family

DOCS = Path(__file__).parent.parent / "docs"
DASHBOARD: dict[str, Any] = json.loads((DOCS / "grafana-dashboard.json").read_bytes())
DOCUMENT = (DOCS / "metrics.md").read_text(encoding="utf-8")

OF_THE_PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
SERVED = {INFO_NAME, *OF_THE_PROCESS}
SERVED |= {name for family in (*RUN, *LOADTEST) for name in family.sample_names}

PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def _queries() -> Iterator[str]:
    for panel in PANELS:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def _names(query: str) -> set[str]:
    return set(re.findall(r"\b(?:batchkms|process)_\w+", query))


def test_every_name_in_a_query_is_one_that_is_served() -> None:
    asked = [_names(query) for query in _queries()]
    assert all(asked), "each query asks for a metric"
    assert set.union(*asked) <= SERVED


@pytest.mark.parametrize("family", (*RUN, *LOADTEST), ids=lambda family: family.name)
def test_every_metric_but_the_plain_counts_is_drawn(family: Family) -> None:
    drawn = set().union(*map(_names, _queries()))
    plain = {"batchkms_input_rows_total", "batchkms_kept_rows"}
    assert drawn & set(family.sample_names) or family.name in plain


@pytest.mark.parametrize("family", (*RUN, *LOADTEST), ids=lambda family: family.name)
def test_labels_in_queries_are_labels_of_their_metrics(family: Family) -> None:
    known = {*family.labels, "job", "instance", "le"}
    for query in _queries():
        for name in family.sample_names:
            for matchers in re.findall(rf"\b{name}\{{([^}}]*)\}}", query):
                assert set(re.findall(r"(\w+)=", matchers)) <= known


def test_it_has_what_an_import_needs() -> None:
    assert DASHBOARD["title"] and DASHBOARD["uid"]
    assert DASHBOARD["id"] is None, "Grafana gives it one"
    assert DASHBOARD["schemaVersion"] >= 39
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert variables["DS_PROMETHEUS"]["type"] == "datasource"
    assert variables["DS_PROMETHEUS"]["query"] == "prometheus"
    used = {name for query in _queries() for name in re.findall(r'=~"\$(\w+)"', query)}
    assert used <= set(variables)
    needed = {each["id"] for each in DASHBOARD["__requires"] if each["type"] == "panel"}
    assert needed == {panel["type"] for panel in PANELS}


def test_panels_have_the_data_source_of_the_variable_and_a_place_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        for part in (panel, *panel.get("targets", [])):
            if panel["type"] != "row":
                assert part["datasource"] == {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
        at = panel["gridPos"]
        place = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not place & taken
        taken |= place
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_document_tells_every_metric_with_its_type() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", DOCUMENT, re.MULTILINE))
    assert told == {
        INFO_NAME: "gauge",
        **{family.name: family.kind for family in (*RUN, *LOADTEST)},
    }


def test_the_alerts_of_the_document_ask_for_what_is_served() -> None:
    rules = re.findall(r"expr: (.*)", DOCUMENT)
    assert len(rules) == DOCUMENT.count("alert: ") > 3
    for rule in rules:
        assert _names(rule) and _names(rule) <= SERVED
