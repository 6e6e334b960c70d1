"""Takes a record's plaintext out of a message that the service wrote.

A service that says `"hunter2" is not valid` would put the secret into the results, which may
be read by more people than the inventory. So every written form of the plaintext is replaced,
and a message that still holds a longer piece of one is withheld as a whole.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable
from urllib.parse import quote, quote_plus, unquote_plus

REDACTED = "[redacted]"
WITHHELD = "[message withheld: it repeated a part of the record]"

MAX_MESSAGE_CHARACTERS = 500
"""What is kept of a message."""

_PIECE = 12
"""A run of this many characters of a written form gives a message away, or two thirds of a form
that is shorter. Less than that is found in ordinary words too."""

_MUCH_SHORTER = 8
"""A form that is so many times longer than the message is searched as it is: a set of all its
pieces, thousands for each row that fails, takes longer than to look for a few in it."""

_SHORT = 4
"""A form below this length is replaced only where it stands alone: `a` is no leak in `was`."""


def scrub(message: str, plaintext: bytes) -> str:
    """The message, at most 500 characters of it, without the plaintext in any written form."""
    text = message[: 8 * MAX_MESSAGE_CHARACTERS]
    if plaintext and text:
        forms = _written_forms(plaintext)
        for form in forms:
            text = _replaced(text, form)
        if _holds_piece(text, forms) or _repeats(text, plaintext):
            return WITHHELD
    return text[:MAX_MESSAGE_CHARACTERS]


def holds(text: str, plaintext: bytes) -> bool:
    """Whether a short text, such as a code or an id, holds the plaintext in a written form.

    A plaintext below four bytes is found in too many texts by chance and is not looked for.
    """
    if len(plaintext) < _SHORT:
        return False
    return any(form in text for form in long_forms(plaintext)) or _repeats(text, plaintext)


def piece_in(text: str, forms: Iterable[str]) -> bool:
    """Whether a short text holds a run of 12 characters of one of the written forms, in any case.

    A server could hand a secret that is longer than its codes and ids over piece by piece.
    """
    low = text.lower()
    pieces = {low[i : i + _PIECE] for i in range(len(low) - _PIECE + 1)}
    if not pieces:
        return False
    searched = {form.lower() for form in forms if len(form) >= _PIECE}
    return any(piece in form for form in searched for piece in pieces)


def long_forms(plaintext: bytes) -> list[str]:
    """The written forms that are not found in other texts by chance."""
    return [form for form in _written_forms(plaintext) if len(form) >= _SHORT]


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
    # Only ASCII counts as part of a word: between Chinese characters there is no space.
    return re.sub(rf"(?<![A-Za-z0-9_]){re.escape(form)}(?![A-Za-z0-9_])", REDACTED, text)


def _holds_piece(text: str, forms: list[str]) -> bool:
    cut = text.replace(REDACTED, "\0")
    for form in forms:
        length = min(_PIECE, max(_SHORT, len(form) * 2 // 3))
        if len(form) < length:
            continue
        found = (cut[i : i + length] for i in range(len(cut) - length + 1))
        if len(cut) * _MUCH_SHORTER < len(form):
            if any(piece in form for piece in found):
                return True
            continue
        pieces = {form[i : i + length] for i in range(len(form) - length + 1)}
        if any(piece in pieces for piece in found):
            return True
    return False


def _repeats(text: str, plaintext: bytes) -> bool:
    """Whether the text repeats the plaintext in another case, escaped, or composed otherwise."""
    secret = _simplified(plaintext.decode("utf-8", "replace"))
    if len(secret) >= _SHORT and secret in _simplified(text):
        return True
    digits = re.sub(r"[^0-9a-f]", "", re.sub(r"0x|\\x", "", text.lower()))
    return len(plaintext) >= _SHORT and plaintext.hex() in digits


def _simplified(text: str) -> str:
    """The text with its escapes read, in one composition and one case, without backslashes."""
    read = unquote_plus(html.unescape(text)) if "%" in text or "&" in text else text
    read = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), read)
    return unicodedata.normalize("NFKC", read).casefold().replace("\\", "").strip()
