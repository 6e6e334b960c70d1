"""The formula guard of CSV results: text that a spreadsheet would run is made inert.

A spreadsheet takes a cell that starts with `=`, `+`, `-` or `@`, some also after a tab or a
line end, for a formula, quoted or not (OWASP, "CSV Injection"). Such a value is written with
one apostrophe in front. A value that starts with an apostrophe gets another one, so that
taking one away always gives back the original.
"""

from __future__ import annotations

_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "'")

GUARDED_COLUMNS = frozenset({"id", "key_id", "code", "message", "request_id"})
"""The columns of a result file that may hold text from outside. The others hold numbers and
names of ours, or must be kept byte for byte: ciphertext and encryption_context."""


def guard(text: str) -> str:
    """The text as it is written to a guarded column."""
    return "'" + text if text.startswith(_RISKY) else text


def unguard(text: str) -> str:
    """The text that was written to a guarded column."""
    return text[1:] if text.startswith("'") else text
