"""Figures as people read them in a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchkms.reporting.html.page import Markup, text
from batchkms.reporting.summary import span_text


def ms(value: float) -> str:
    """Milliseconds with the digits that matter."""
    if value >= 10_000:
        return f"{value / 1000:,.1f} s"
    digits = 0 if value >= 1000 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} ms"


def span(seconds: float) -> str:
    """A span of time; one of few seconds exact."""
    shown = f"{seconds:.3g} s" if seconds <= 10 else span_text(seconds)
    return shown.removesuffix(" 00 s").removesuffix(" 00 min")


def rate_text(per_second: float) -> str:
    """Calls per second."""
    return f"{per_second:,.1f}/s" if per_second < 10_000 else f"{per_second:,.0f}/s"


def share(part: float, whole: float) -> str:
    """A share in percent; one that is not nothing is never shown as nothing."""
    percent = 100 * part / whole if whole else 0.0
    if 0 < percent < 0.001:
        return "< 0.001%"
    if 99.999 < percent < 100:
        return "> 99.999%"
    return f"{percent:.3f}".rstrip("0").rstrip(".") + "%"


def bytes_text(count: int) -> str:
    """A number of bytes in the unit that suits it."""
    size, units = float(count), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:,.0f} {units[0]}" if units[0] == "bytes" else f"{size:,.1f} {units[0]}"


def setting(value: Any) -> str:
    """The value of a setting."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(setting, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {setting(each)}" for key, each in value.items())
    if isinstance(value, float):
        return f"{value:,.6g}"
    return "none" if value is None else str(value)


def request_ids(ids: Sequence[str]) -> Markup:
    """RequestIds one below the other."""
    return Markup("<br>".join(f'<code class="id">{text(each[:64])}</code>' for each in ids) or "–")
