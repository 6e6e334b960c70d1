"""A load test as JUnit XML, which every CI system shows: one test case for each SLO."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from xml.etree import ElementTree

from batchkms.loadtest.runrecord import RunRecord, SloRecord
from batchkms.loadtest.slo import parse_slo
from batchkms.loadtest.statistics import Statistics

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document may hold, not even escaped."""

_SUITE = "batchkms loadtest"


def junit_xml(record: RunRecord, statistics: Statistics) -> bytes:
    """The document, UTF-8. Times in seconds; the suite's is that of the calls."""
    cases = [_validity(record), _ending(record)]
    cases += [_slo(slo) for slo in record.slos]
    if record.max_rate is not None:
        cases.append(_max_rate(record.max_rate))
    failures = sum(1 for case in cases if case.find("failure") is not None)
    errors = sum(1 for case in cases if case.find("error") is not None)
    counts = {"tests": str(len(cases)), "failures": str(failures), "errors": str(errors)}
    seconds = f"{statistics.last_done_s:.3f}"
    suites = ElementTree.Element("testsuites", {"name": _SUITE, **counts, "time": seconds})
    suite = ElementTree.SubElement(
        suites,
        "testsuite",
        {
            "name": _SUITE,
            **counts,
            "skipped": "0",
            "time": seconds,
            "timestamp": datetime.fromtimestamp(record.started_at, UTC).strftime(
                "%Y-%m-%dT%H:%M:%S"
            ),
            "hostname": "localhost",
        },
    )
    suite.append(_properties(record, statistics))
    suite.extend(cases)
    ElementTree.SubElement(suite, "system-out").text = ""
    ElementTree.SubElement(suite, "system-err").text = ""
    ElementTree.indent(suites)
    document: bytes = ElementTree.tostring(suites, encoding="UTF-8", xml_declaration=True)
    return document + b"\n"


def _properties(record: RunRecord, statistics: Statistics) -> ElementTree.Element:
    from_schedule, from_send = statistics.from_schedule, statistics.from_send
    values = {
        "version": record.version,
        "endpoint": record.endpoint,
        "model": record.model,
        "state": record.state,
        "actions": ",".join(f"{name}={weight:g}" for name, weight in record.actions.items()),
        "rate.target": "" if record.target_rate is None else f"{record.target_rate:g}",
        "rate.achieved": f"{statistics.sent_rate:.3f}",
        "calls": str(statistics.calls),
        **{f"calls.{name}": str(calls) for name, calls in sorted(statistics.by_class.items())},
        "latency_ms.from_schedule.p99": f"{from_schedule.percentile_ms(99):.3f}",
        "latency_ms.from_schedule.max": f"{from_schedule.max_ms:.3f}",
        "latency_ms.from_send.p99": f"{from_send.percentile_ms(99):.3f}",
        "latency_ms.from_send.max": f"{from_send.max_ms:.3f}",
    }
    properties = ElementTree.Element("properties")
    for name, value in values.items():
        ElementTree.SubElement(
            properties, "property", {"name": _clean(name), "value": _clean(value)}
        )
    return properties


def _case(name: str, group: str) -> ElementTree.Element:
    return ElementTree.Element(
        "testcase", {"name": _clean(name), "classname": f"batchkms.loadtest.{group}", "time": "0"}
    )


def _slo(slo: SloRecord) -> ElementTree.Element:
    case = _case(slo.text, "slo")
    if not slo.held:
        read = parse_slo(slo.text)
        measured = f"measured {read.written(slo.measured)}, asked {slo.text}"
        _fail(
            case, "SloFailed", measured, [f"window at {begin:g} s" for begin in slo.failed_windows]
        )
    return case


def _validity(record: RunRecord) -> ElementTree.Element:
    case = _case("the generator was fast enough", "generator")
    if record.invalid:
        _fail(case, "NotValid", "the figures are not the service's", record.invalid)
    return case


def _ending(record: RunRecord) -> ElementTree.Element:
    case = _case("the run came to its end", "run")
    if record.state != "finished":
        _fail(case, "NotFinished", f"the run was {record.state}", [])
    return case


def _max_rate(max_rate: dict[str, object]) -> ElementTree.Element:
    case = _case("a highest rate was found", "max_rate")
    if not max_rate["rate"] or max_rate["limited_by"] not in ("server", "most"):
        _fail(case, "NotFound", str(max_rate["confidence"]), [])
    return case


def _fail(case: ElementTree.Element, kind: str, message: str, lines: list[str]) -> None:
    failure = ElementTree.SubElement(case, "failure", {"type": kind, "message": _clean(message)})
    failure.text = _clean("\n".join([message, *lines]))


def _clean(text: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
