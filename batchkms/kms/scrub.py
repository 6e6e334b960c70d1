"""Takes a record's plaintext out of a message that the service wrote.

A service that says `"hunter2" is not valid` would put the secret into the results, which may
be read by more people than the inventory. So every written form of the plaintext is replaced,
and a message that still holds a longer piece of one is withheld as a whole.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"
WITHHELD = "[message withheld: it repeated a part of the record]"

MAX_MESSAGE_CHARACTERS = 500
"""What is kept of a message."""

_PIECE = 12
"""A run of this many characters of a written form gives a message away. Shorter ones
are found in ordinary words too."""

_SHORT = 4
"""A form below this length is replaced only where it stands alone: `a` is no leak in `was`."""


def scrub(message: str, plaintext: bytes) -> str:
    """The message, at most 500 characters of it, without the plaintext in any written form."""
    text = message[: 8 * MAX_MESSAGE_CHARACTERS]
    if plaintext and text:
        forms = _written_forms(plaintext)
        for form in forms:
            text = _replaced(text, form)
        if _holds_piece(text, forms):
            return WITHHELD
    return text[:MAX_MESSAGE_CHARACTERS]


def _written_forms(plaintext: bytes) -> list[str]:
    """The forms in which a message may repeat the plaintext, the longest first."""
    forms = {plaintext.hex(), plaintext.hex().upper(), quote(plaintext), quote_plus(plaintext)}
    for encode in (b64encode, urlsafe_b64encode):
        for offset in range(3):
            forms.add(_base64_inside(plaintext, offset, encode(b"\0" * offset + plaintext)))
        forms.add(encode(plaintext).decode())
        forms.add(encode(plaintext).decode().rstrip("="))
    text = plaintext.decode("utf-8", "replace")
    forms.update((text, text.strip(), repr(text)[1:-1], repr(plaintext)[2:-1]))
    forms.update(json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))
    return sorted(filter(None, forms), key=len, reverse=True)


def _base64_inside(plaintext: bytes, offset: int, encoded: bytes) -> str:
    """The characters of a longer base64 text that depend on nothing but the plaintext."""
    first = (offset * 8 + 5) // 6
    last = (offset + len(plaintext)) * 8 // 6
    inside = encoded[first:last].decode()
    return inside if len(inside) >= _SHORT else ""


def _replaced(text: str, form: str) -> str:
    if len(form) >= _SHORT:
        return text.replace(form, REDACTED)
    return re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", REDACTED, text)


def _holds_piece(text: str, forms: list[str]) -> bool:
    pieces = {text[i : i + _PIECE] for i in range(len(text) - _PIECE + 1)}
    return any(piece in form for form in forms if len(form) >= _PIECE for piece in pieces)
