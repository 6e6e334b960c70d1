"""The options of a load test."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from batchkms.errors import BadValue
from batchkms.options.option import Option
from batchkms.options.values import (
    MAX_RATE,
    duration,
    one_of,
    switch,
    text,
    whole,
    written_duration,
)

T = TypeVar("T")

_STAGE = re.compile(r"([0-9.]+(?:ms|s|m|h)):([0-9]+(?:\.[0-9]+)?)(?:-([0-9]+(?:\.[0-9]+)?))?")

Stages = tuple[tuple[float, float, float], ...]
"""Stages as duration in seconds, and rate in calls per second at the begin and at the end."""


def stages(value: Any) -> Stages:
    """Stages such as `30s:100` or `30s:100-300`, one or several."""
    return tuple(_each(several(value), _stage))


def _stage(value: str) -> tuple[float, float, float]:
    match = _STAGE.fullmatch(value)
    if match is None:
        raise BadValue("takes stages such as 30s:100, or 30s:100-300 for a ramp")
    first = float(match[2])
    last = first if match[3] is None else float(match[3])
    if max(first, last) > MAX_RATE:
        raise BadValue(f"takes stages of at most {MAX_RATE:,} calls per second")
    return duration(match[1]), first, last


def written_stages(value: Stages | None) -> list[str] | None:
    """The stages as `stages` reads them."""
    if value is None:
        return None
    return [
        f"{written_duration(seconds)}:{first:g}" + ("" if first == last else f"-{last:g}")
        for seconds, first, last in value
    ]


def several(value: Any) -> tuple[str, ...]:
    """One text or several; in one text they are separated by commas."""
    if isinstance(value, str):
        value = [each.strip() for each in value.split(",")]
    if not isinstance(value, list | tuple) or not value:
        raise BadValue("takes a text, or a list of them")
    return tuple(text(each) for each in value)


def _each(texts: tuple[str, ...], parse: Callable[[str], T]) -> Iterator[T]:
    """What each of them stands for. Raises BadValue, which says which one is none."""
    for each in texts:
        try:
            yield parse(each)
        except BadValue as error:
            raise BadValue(str(error), given=each) from None


def slos(value: Any) -> tuple[str, ...]:
    """Service level objectives such as `p99<50ms`, one or several."""
    from batchkms.loadtest.slo import parse_slo

    given = several(value)
    list(_each(given, parse_slo))
    return given


def action(value: Any) -> str:
    """An action, or several with weights."""
    from batchkms.loadtest.mix import parse_mix

    parse_mix(text(value))
    return str(value)


def payload_size(value: Any) -> str:
    """A size, a range, or sizes with weights."""
    from batchkms.loadtest.payload import parse_payload_size

    written = str(value) if isinstance(value, int) and not isinstance(value, bool) else text(value)
    parse_payload_size(written)
    return written


def _file(name: str, help: str) -> Option:
    return Option(name=name, parse=text, metavar="FILE", help=help)


def _written_time(seconds: float | None) -> str | None:
    return None if seconds is None else written_duration(seconds)


def _time(
    name: str, help: str, *, default: float | None = None, shown: str | None = None
) -> Option:
    return Option(
        name=name,
        parse=duration,
        write=_written_time,
        default=default,
        shown_default=shown,
        metavar="TIME",
        help=help,
    )


LOAD: tuple[Option, ...] = (
    _time("duration", "How long calls are made.", default=60.0, shown="60s"),
    Option(
        name="stage",
        stored_as="stages",
        parse=stages,
        write=written_stages,
        repeated=True,
        metavar="TIME:N[-M]",
        help="N calls per second for some time, or a ramp from N to M; may be repeated.",
    ),
    Option(
        name="closed",
        parse=switch,
        default=False,
        switch=True,
        help="Keep --concurrency calls under way instead of a rate: the most a server gives.",
    ),
    Option(
        name="max-connections",
        parse=whole(1, 60_000),
        default=10_000,
        metavar="N",
        help="Connections at the most; calls that are due wait for one.",
    ),
    _time("warmup", "Leave calls of the first moments out of the figures.", shown="none"),
    Option(
        name="action",
        parse=action,
        default="encrypt",
        metavar="ACTION[=N],…",
        help="encrypt, decrypt, reencrypt, generate-data-key, or several with weights.",
    ),
    Option(
        name="payload-size",
        parse=payload_size,
        default="64",
        metavar="SIZE",
        help="Bytes of a plaintext without INPUT: 64, 16-4096, or 64:9,4096:1 with weights.",
    ),
    Option(
        name="signature",
        parse=one_of("tc3", "v1"),
        default="tc3",
        metavar="tc3|v1",
        help="How calls are signed: TC3-HMAC-SHA256, or the older HmacSHA256.",
    ),
    Option(
        name="slo",
        stored_as="slos",
        parse=slos,
        write=list,
        repeated=True,
        metavar="SLO",
        help="What must hold, such as 'p99<50ms', 'errors<0.1%' or 'throttled==0'; exit code 6 "
        "if it does not. May be repeated.",
    ),
    _time(
        "slo-window", "Each SLO must hold in every window of this length.", shown="the whole run"
    ),
    Option(
        name="abort-on-fail",
        parse=switch,
        default=False,
        switch=True,
        help="End the run as soon as an SLO does not hold.",
    ),
    Option(
        name="find-max",
        parse=switch,
        default=False,
        switch=True,
        help="Search for the highest rate at which the SLOs hold.",
    ),
    Option(
        name="max-rate",
        parse=whole(1, MAX_RATE),
        metavar="N",
        shown_default="none",
        help="With --find-max: never more calls per second than this.",
    ),
    _time("lag-limit", "What the generator itself may be late by.", default=0.01, shown="10ms"),
    _file("report", "Write the report as one HTML file."),
    _file("junit", "Write the SLOs as JUnit XML."),
    _file("hgrm", "Write the percentiles as HdrHistogram text."),
)
