"""The options of batch commands: one table for flags, environment and job files.

Every value goes through the same parser, wherever it was written, so that it means the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from batchkms.engine import MaxFailures

Parser = Callable[[Any], Any]

MAX_RATE = 1_000_000


class BadValue(ValueError):
    """A value that an option does not take; the text says what it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: `--name` as a flag, `BATCHKMS_NAME` in the environment, `name` in a file."""

    name: str
    parse: Parser
    write: Callable[[Any], Any] = lambda value: value
    """What `parse` makes the same value of; a JSON value."""
    help: str
    default: Any = None
    metavar: str = "TEXT"
    short: str | None = None
    switch: bool = False
    shown_default: str | None = None

    @property
    def field(self) -> str:
        """The name of its field in JobSpec."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable that gives it."""
        return f"BATCHKMS_{self.field.upper()}"


def text(value: Any) -> str:
    """Any text that is not empty."""
    if not isinstance(value, str) or not value:
        raise BadValue("takes a text that is not empty")
    return value


def name(value: Any) -> str:
    """A name: text without spaces or control characters."""
    if re.fullmatch(r"[!-~]{1,128}", text(value)) is None:
        raise BadValue("takes a name of at most 128 ASCII characters, without spaces")
    return str(value)


def switch(value: Any) -> bool:
    """On or off."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("1", "true", "yes", "on"):
        return True
    if isinstance(value, str) and value.lower() in ("0", "false", "no", "off", ""):
        return False
    raise BadValue("is either true or false")


def whole(least: int, most: int) -> Parser:
    """A whole number within bounds; `1_000` may be written so."""

    def parse(value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            number = value
        elif isinstance(value, str) and re.fullmatch(r"[0-9]+(_[0-9]+)*", value):
            number = int(value.replace("_", "").lstrip("0")[:20] or "0")
        else:
            raise BadValue(f"takes a whole number from {least:,} to {most:,}")
        if not least <= number <= most:
            raise BadValue(f"takes a whole number from {least:,} to {most:,}, not {number:,}")
        return number

    return parse


def one_of(*names: str) -> Parser:
    """One of some words."""

    def parse(value: Any) -> str:
        if value not in names:
            raise BadValue(f"takes one of {', '.join(names)}")
        return str(value)

    return parse


_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration(value: Any) -> float:
    """A time such as `100ms`, `1s`, `2m` or `1h`; the result is in seconds."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)", str(value))
    if isinstance(value, str) and match:
        seconds = float(match[1]) * _UNITS_S[match[2]]
        if seconds > 0:
            return seconds
    raise BadValue("takes a time such as 100ms, 1s, 2m or 1h")


def written_duration(seconds: float) -> str:
    """The time as `duration` reads it."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def rate(value: Any) -> int | str:
    """Calls per second, `auto` or `off`."""
    if value in ("auto", "off"):
        return str(value)
    try:
        return int(whole(1, MAX_RATE)(value))
    except BadValue:
        raise BadValue(
            f"takes a whole number of calls per second from 1 to {MAX_RATE:,}, or auto, or off"
        ) from None


def percentage(value: Any) -> float:
    """A percentage from 0 to 99, `30%` or the number 30; the result is a share of 1."""
    match = re.fullmatch(r"([0-9]{1,2}(?:\.[0-9]{1,6})?)(%?)", str(value))
    if isinstance(value, bool) or not match:
        raise BadValue("takes a percentage from 0% to 99%")
    if 0 < float(match[1]) < 1 and not match[2]:
        # Most likely a share of 1 is meant, and reading it as a percentage would take it all.
        raise BadValue("takes a percentage from 0% to 99%, such as 30%")
    return float(match[1]) / 100


def written_percentage(share: float) -> str:
    """The share of 1 as `percentage` reads it."""
    return f"{share * 100:.6f}".rstrip("0").rstrip(".") + "%"


def written_max_failures(cap: MaxFailures) -> int | str | None:
    """The cap as `max_failures` reads it, None for no cap."""
    return cap.rows if cap.share is None else written_percentage(cap.share)


def max_failures(value: Any) -> MaxFailures:
    """A number of rows, or a share of them such as `5%`."""
    if isinstance(value, str) and value.endswith("%"):
        match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%", value)
        if match and float(match[1]) <= 100:
            return MaxFailures(share=float(match[1]) / 100)
    else:
        try:
            return MaxFailures(rows=int(whole(0, 10**12)(value)))
        except BadValue:
            pass
    raise BadValue("takes a number of rows such as 100, or a share such as 5%")


COMMON: tuple[Option, ...] = (
    Option(
        name="output",
        parse=text,
        short="-o",
        metavar="FILE",
        help="Where the results go; - is stdout.",
    ),
    Option(
        name="overwrite", parse=switch, default=False, switch=True, help="Replace an old output."
    ),
    Option(
        name="resume",
        parse=switch,
        default=False,
        switch=True,
        help="Go on with a run that did not end; rows with a result are not sent again.",
    ),
    Option(
        name="format",
        parse=one_of("jsonl", "csv"),
        metavar="jsonl|csv",
        shown_default="by suffix",
        help="Format of the input.",
    ),
    Option(
        name="output-format",
        parse=one_of("jsonl", "csv"),
        metavar="jsonl|csv",
        shown_default="by suffix, jsonl on stdout",
        help="Format of the results.",
    ),
    Option(
        name="id-field", parse=text, metavar="NAME", shown_default="id", help="Field of the id."
    ),
    Option(
        name="plaintext-field",
        parse=text,
        metavar="NAME",
        shown_default="plaintext",
        help="Field of the plaintext.",
    ),
    Option(name="key-field", parse=text, metavar="NAME", help="Field of the row's own CMK."),
    Option(
        name="context-field",
        parse=text,
        metavar="NAME",
        shown_default="encryption_context",
        help="Field of the encryption context.",
    ),
    Option(
        name="encoding",
        parse=one_of("utf8", "base64", "hex"),
        default="utf8",
        metavar="utf8|base64|hex",
        help="How the plaintext is written.",
    ),
    Option(name="limit", parse=whole(1, 10**12), metavar="N", help="Do only the first N rows."),
    Option(
        name="ordered",
        parse=switch,
        default=False,
        switch=True,
        help="Write the results in the order of the input.",
    ),
    Option(
        name="key-id", parse=name, metavar="ID", help="The CMK for rows that name none themselves."
    ),
    Option(
        name="region",
        parse=name,
        metavar="REGION",
        help="Region of the CMK, such as ap-guangzhou; also TENCENTCLOUD_REGION.",
    ),
    Option(
        name="endpoint",
        parse=text,
        metavar="URL",
        shown_default="https://kms.tencentcloudapi.com",
        help="Where KMS is called.",
    ),
    Option(
        name="emulator",
        parse=switch,
        default=False,
        switch=True,
        help="Use a KMS of its own on this machine, no account needed.",
    ),
    Option(
        name="data-dir",
        parse=text,
        metavar="DIR",
        help="With --emulator: where it keeps its keys.",
    ),
    Option(
        name="profile",
        parse=text,
        metavar="NAME",
        help="Profile in ~/.tencentcloud/credentials or of tccli.",
    ),
    Option(name="credentials", parse=text, metavar="FILE", help="Credentials file (INI or tccli)."),
    Option(name="ca-file", parse=text, metavar="FILE", help="PEM file of CAs to trust as well."),
    Option(name="proxy", parse=text, metavar="URL", help="HTTP proxy to go through."),
    Option(
        name="rate",
        parse=rate,
        default=300,
        metavar="N|auto|off",
        help="Calls per second, retries included; auto asks the service for the quota.",
    ),
    Option(
        name="reserve",
        parse=percentage,
        write=written_percentage,
        default=0.0,
        metavar="PCT",
        shown_default="0%",
        help="Share of the rate that is left to others.",
    ),
    Option(
        name="concurrency",
        parse=whole(1, 10_000),
        default=64,
        metavar="N",
        help="Calls in flight at the most.",
    ),
    Option(
        name="queue-size",
        parse=whole(1, 1_000_000),
        default=1_000,
        metavar="N",
        help="Rows read ahead at the most.",
    ),
    Option(
        name="max-attempts",
        parse=whole(1, 1_000),
        default=8,
        metavar="N",
        help="Calls per row at the most.",
    ),
    Option(
        name="timeout",
        parse=duration,
        write=written_duration,
        default=10.0,
        metavar="TIME",
        shown_default="10s",
        help="For one attempt as a whole.",
    ),
    Option(
        name="connect-timeout",
        parse=duration,
        write=written_duration,
        default=3.0,
        metavar="TIME",
        shown_default="3s",
        help="For connecting.",
    ),
    Option(
        name="deadline",
        parse=duration,
        write=written_duration,
        default=120.0,
        metavar="TIME",
        shown_default="2m",
        help="For all attempts of a row.",
    ),
    Option(
        name="outage-budget",
        parse=duration,
        write=written_duration,
        default=300.0,
        metavar="TIME",
        shown_default="5m",
        help="How long to wait for a service that answers nobody.",
    ),
    Option(
        name="max-failures",
        parse=max_failures,
        write=written_max_failures,
        default=MaxFailures(),
        metavar="N|P%",
        shown_default="no cap",
        help="Stop when more rows than this have failed.",
    ),
    Option(
        name="fsync-interval",
        parse=duration,
        write=written_duration,
        default=1.0,
        metavar="TIME",
        shown_default="1s",
        help="How often results are forced to the disk.",
    ),
    Option(
        name="progress",
        parse=one_of("auto", "always", "never"),
        default="auto",
        metavar="auto|always|never",
        help="Show progress on stderr.",
    ),
    Option(
        name="summary",
        parse=one_of("text", "json"),
        default="text",
        metavar="text|json",
        help="Final summary: text on stderr, or json on stdout.",
    ),
    Option(
        name="log-level",
        parse=one_of("debug", "info", "warning", "error"),
        default="info",
        metavar="LEVEL",
        help="debug, info, warning or error.",
    ),
    Option(
        name="log-format",
        parse=one_of("text", "json"),
        default="text",
        metavar="text|json",
        help="Format of log lines on stderr.",
    ),
)
