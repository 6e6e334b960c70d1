"""JUnit XML: one test case for each SLO, and a document that every reader takes."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from batchkms.loadtest.junit import junit_xml
from batchkms.loadtest.runrecord import RunRecord, SloRecord
from tests.loadtest.calls import call, record, statistics

FIGURES = statistics(*(call(n / 100) for n in range(500)), call(5, 0.1, "throttled"))


def _suite(of: RunRecord) -> ElementTree.Element:
    suites = ElementTree.fromstring(junit_xml(of, FIGURES))  # noqa: S314  # what was just made
    assert suites.tag == "testsuites"
    (suite,) = suites
    for element in (suites, suite):
        cases = suite.findall("testcase")
        failed = [case for case in cases if case.find("failure") is not None]
        counts = [element.get(name) for name in ("tests", "failures", "errors")]
        assert counts == [str(len(cases)), str(len(failed)), "0"]
    return suite


def _failures(suite: ElementTree.Element) -> dict[str, str]:
    return {
        case.get("name", ""): failure.get("message", "")
        for case in suite.findall("testcase")
        if (failure := case.find("failure")) is not None
    }


def test_a_run_that_held_has_no_failure() -> None:
    suite = _suite(record(slos=[SloRecord(text="p99<50ms", held=True, measured=12.3)]))
    names = [case.get("name") for case in suite.findall("testcase")]
    assert names == ["the generator was fast enough", "the run came to its end", "p99<50ms"]
    assert _failures(suite) == {}


def test_what_failed_says_what_was_measured_and_asked() -> None:
    slos = [
        SloRecord(text="p99<50ms", held=False, measured=73.21, windows=6, failed_windows=[20.0]),
        SloRecord(text="errors<0.1%", held=False, measured=0.02),
    ]
    suite = _suite(record(slos=slos, invalid=["late <&> slow"], state="aborted"))
    assert _failures(suite) == {
        "the generator was fast enough": "the figures are not the service's",
        "the run came to its end": "the run was aborted",
        "p99<50ms": "measured 73.2 ms, asked p99<50ms",
        "errors<0.1%": "measured 2%, asked errors<0.1%",
    }
    texts = [failure.text or "" for failure in suite.iter("failure")]
    assert "late <&> slow" in texts[0]
    assert "window at 20 s" in texts[2]


def test_a_highest_rate_that_was_not_found_is_a_failure() -> None:
    for limited_by, failed in (("server", 0), ("most", 0), ("generator", 1), ("time", 1)):
        found = {"rate": 300.0, "limited_by": limited_by, "confidence": "held"}
        assert len(_failures(_suite(record(max_rate=found)))) == failed


def test_the_settings_and_figures_are_properties() -> None:
    properties = {each.get("name"): each.get("value") for each in _suite(record()).iter("property")}
    assert properties["endpoint"] == "https://kms.example"
    assert properties["rate.target"] == "100"
    assert properties["calls"] == "501"
    assert properties["calls.throttled"] == "1"
    assert float(str(properties["latency_ms.from_schedule.max"])) == 100


def test_the_order_of_elements_is_that_of_the_schema() -> None:
    suite = _suite(record())
    tags = [child.tag for child in suite]
    assert tags == ["properties", "testcase", "testcase", "system-out", "system-err"]
    assert suite.get("timestamp") == "2023-11-14T22:13:20"
    assert set(suite.attrib) == {
        *("name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname")
    }


@settings(deadline=None, max_examples=30)
@given(st.text(max_size=20))
def test_any_text_gives_a_well_formed_document(text: str) -> None:
    suite = _suite(record(endpoint=text, invalid=[text], version=text))
    assert len(suite.findall("testcase")) == 2


def test_control_characters_are_replaced() -> None:
    document = junit_xml(record(endpoint="a\x00b\x1bc\ud800"), FIGURES)
    assert "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c".encode() in document
