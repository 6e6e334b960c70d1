"""A request as the bytes that are sent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from batchkms.errors import ConfigError

Headers = Mapping[str, str] | list[tuple[str, str]]

_START = "POST / HTTP/1.1\r\n"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS = ("content-length", "transfer-encoding")


def request_bytes(headers: Headers, body: bytes) -> bytes:
    """A POST to `/` with these headers and the Content-Length of the body.

    Raises ConfigError for a value that cannot be sent, without repeating it, and ValueError for
    a name that is none, or that says how long the body is: that is not the caller's to say.
    """
    return f"{_START}{_lines(headers)}Content-Length: {len(body)}\r\n\r\n".encode() + body


class RequestTemplate:
    """Requests that have most of their headers in common: those are looked at and written once.

    Raises what `request_bytes` does, for the common headers when it is made.
    """

    def __init__(self, common: Headers) -> None:
        self._start = _START + _lines(common)

    def request_bytes(self, more: Headers, body: bytes) -> bytes:
        """A POST to `/` with the common headers, these, and the Content-Length of the body."""
        return f"{self._start}{_lines(more)}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _lines(headers: Headers) -> str:
    # To ask whether something is a mapping takes longer than all of this.
    pairs = headers if isinstance(headers, list) else headers.items()
    lines = "".join([f"{name}: {value}\r\n" for name, value in pairs])
    # One look at all of them, for they are nearly always good.
    if lines.count("\n") != len(pairs) or lines.count("\r") != len(pairs) or "\0" in lines:
        _refuse_values(list(pairs))
    for name, _ in pairs:
        if name not in _GOOD_NAMES:
            _refuse_name(name)
    return lines


_GOOD_NAMES: set[str] = set()
"""Names that were found good: there is a handful of them."""


def _refuse_values(pairs: Sequence[tuple[str, str]]) -> None:
    for name, value in pairs:
        if re.search(r"[\r\n\0]", value):
            # The value may be a token.
            raise ConfigError(
                f"the value of the header {name!r} has a line break or a NUL in it",
                hint="look at the region, the endpoint and the credentials",
            )


def _refuse_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name.lower() in _OURS:
        raise ValueError(f"{name!r} is no name of a header that may be given")
    if len(_GOOD_NAMES) < 100:
        _GOOD_NAMES.add(name)
