"""Values of options: how each kind is read and written, wherever it stands."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from batchkms.errors import BadValue
from batchkms.failurerules import MaxFailures
from batchkms.records import ErrorClass
from batchkms.shard import MOST_SHARES, Shard

Parser = Callable[[Any], Any]

MAX_RATE = 1_000_000


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


def shard(value: Any) -> Shard:
    """A share of all rows, such as `2/3`: the second one of three."""
    match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", value) if isinstance(value, str) else None
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= MOST_SHARES:
        raise BadValue(f"takes a share such as 2/3, the second of 3, of at most {MOST_SHARES:,}")
    return Shard(int(match[1]), int(match[2]))


_BYTES = {"": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


def size(value: Any) -> int:
    """A number of bytes, such as `64MiB` or 65536."""
    match = re.fullmatch(r"([0-9]{1,15})(|KiB|MiB|GiB)", str(value))
    if isinstance(value, bool) or not isinstance(value, str | int) or not match:
        raise BadValue("takes a number of bytes such as 64MiB or 1GiB")
    if (number := int(match[1]) * _BYTES[match[2]]) < 1:
        raise BadValue("takes at least one byte")
    return number


def names(value: Any) -> tuple[str, ...]:
    """Some names separated by commas, or a list of them."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple) or not value:
        raise BadValue("takes names separated by commas")
    given = tuple(each.strip() if isinstance(each, str) else "" for each in value)
    if not all(given) or len(set(given)) < len(given):
        raise BadValue("takes names separated by commas, each one once")
    return given


def error_classes(value: Any) -> tuple[str, ...]:
    """Some classes of failures, separated by commas, or a list of them."""
    given = names(value)
    if not set(given) <= set(ErrorClass):
        raise BadValue(f"takes names separated by commas, out of {', '.join(ErrorClass)}")
    return given
