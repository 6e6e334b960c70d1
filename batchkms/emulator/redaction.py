"""What a log may show of values that could be secrets: how long they are."""

from __future__ import annotations


def shape(value: str) -> str:
    """The length in place of a value."""
    return f"<{len(value)} characters>"


def query_shape(query: str) -> str:
    """A query with the shape of each value in place of it; its names stay."""
    return "&".join(_part_shape(part) for part in query.split("&") if part)


def _part_shape(part: str) -> str:
    name, equals, value = part.partition("=")
    return f"{name}={shape(value)}" if equals else shape(name)
