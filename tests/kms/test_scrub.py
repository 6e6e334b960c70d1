"""No message of the service repeats a record's plaintext, in whatever form it was written."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchkms.kms.scrub import MAX_MESSAGE_CHARACTERS, REDACTED, WITHHELD, holds, scrub

PIECE = 12
"""A run of so many characters of any form must never be left."""

FORMS: dict[str, Callable[[str], str]] = {
    "raw": lambda text: text,
    "base64": lambda text: b64encode(text.encode()).decode(),
    "base64 without padding": lambda text: b64encode(text.encode()).decode().rstrip("="),
    "url-safe base64": lambda text: urlsafe_b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "upper hex": lambda text: text.encode().hex().upper(),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON in UTF-8": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "percent": quote,
    "form": quote_plus,
    "Python": lambda text: repr(text)[1:-1],
}

# At least four characters: a shorter one is replaced only where it stands alone.
plaintexts = st.text(
    st.characters(codec="utf-8", exclude_categories=["C"]), min_size=4, max_size=200
).filter(lambda text: text not in REDACTED and text.strip() == text)
around = st.text("abcXYZ 0129:`'\"-=/+.", max_size=40)


@pytest.mark.parametrize("form", FORMS)
@given(plaintext=plaintexts, before=around, after=around)
def test_the_plaintext_never_stays(form: str, plaintext: str, before: str, after: str) -> None:
    written = FORMS[form](plaintext)
    message = scrub(f"{before}{written}{after}", plaintext.encode())
    assert written not in message or message == WITHHELD
    assert plaintext not in message or message == WITHHELD


@given(
    plaintext=st.binary(min_size=18, max_size=300), before=st.binary(max_size=5), after=st.binary()
)
@example(plaintext=b"x" * 18, before=b"ab", after=b"")
def test_base64_of_a_longer_text_with_the_plaintext_in_it(
    plaintext: bytes, before: bytes, after: bytes
) -> None:
    # An echoed request body, for one, holds the plaintext at any offset.
    message = scrub(b64encode(before + plaintext + after).decode(), plaintext)
    inside = b64encode(b"\0" * (len(before) % 3) + plaintext)
    certain = inside[4 : len(inside) - 4].decode()
    assert certain not in message


@given(
    plaintext=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=30),
    start=st.integers(0, 10),
    length=st.integers(PIECE, 20),
)
def test_a_longer_piece_withholds_the_message(plaintext: str, start: int, length: int) -> None:
    piece = plaintext[start : start + length]
    message = scrub(f"Parameter `{piece}` is not valid", plaintext.encode())
    assert piece not in message
    assert message == WITHHELD or REDACTED in message


@pytest.mark.parametrize("start", [0, 1, 2_040, 4_084])
@pytest.mark.parametrize("how", [bytes, bytes.hex, lambda secret: b64encode(secret).decode()])
def test_a_piece_of_a_plaintext_much_longer_than_its_message_withholds_it(
    how: Callable[[bytes], str | bytes], start: int
) -> None:
    secret = b"".join(b"%04d" % number for number in range(1_024))
    piece = how(secret)[start : start + 12]
    text = piece.decode() if isinstance(piece, bytes) else piece
    assert scrub(f"no: {text}", secret) == WITHHELD
    assert scrub(f"no: {text[:-1]}#", secret) == f"no: {text[:-1]}#"


def test_a_plaintext_that_is_cut_off_by_the_end_of_the_message_withholds_it() -> None:
    plaintext = "s3cr3t-" * 100
    assert scrub(f"bad value: {plaintext[:150]}…", plaintext.encode()) == WITHHELD


@pytest.mark.parametrize(
    ("message", "plaintext", "expected"),
    [
        ("the value hunter2 is bad", b"hunter2", f"the value {REDACTED} is bad"),
        ("hunter2 and hunter2", b"hunter2", f"{REDACTED} and {REDACTED}"),
        ("value `ab` is bad", b"ab", f"value `{REDACTED}` is bad"),
        ("this was said", b"a", "this was said"),
        ("Plaintext is not valid", b"", "Plaintext is not valid"),
        ("The CMK does not exist.", b"some other secret value", "The CMK does not exist."),
        ("", b"hunter2", ""),
        ("value hunter2 is bad", b" hunter2\n", f"value {REDACTED} is bad"),
    ],
)
def test_what_is_kept(message: str, plaintext: bytes, expected: str) -> None:
    assert scrub(message, plaintext) == expected


@pytest.mark.parametrize("plaintext", [b"\xff\xfe\x00\x01\x02\x03", bytes(range(256)), b"\0" * 40])
def test_bytes_that_are_no_text(plaintext: bytes) -> None:
    for written in (b64encode(plaintext).decode(), plaintext.hex(), repr(plaintext)):
        said = scrub(f"value {written} is bad", plaintext)
        assert written not in said


@given(message=st.text(max_size=2_000), plaintext=st.binary(max_size=50))
def test_a_message_is_never_longer_than_what_is_kept(message: str, plaintext: bytes) -> None:
    assert len(scrub(message, plaintext)) <= MAX_MESSAGE_CHARACTERS


def test_an_endless_message_is_cut_before_it_is_searched() -> None:
    said = scrub("word " * 2_000_000, b"some secret value")
    assert said == ("word " * 100)[:MAX_MESSAGE_CHARACTERS]


@pytest.mark.parametrize(
    ("message", "plaintext"),
    [
        ("value p&amp;ss&lt;w&gt;rd is bad", "p&ss<w>rd"),
        ("value HUNTER2PASS is bad", "hunter2pass"),
        ("value hunter2pas... is bad", "hunter2pass"),
        ("value %68%75%6e%74%65%72%32 is bad", "hunter2"),
        (r"value \x68\x75\x6e\x74\x65\x72\x32 is bad", "hunter2"),
        ("value 68:75:6e:74:65:72:32 is bad", "hunter2"),
        (r"value \u0068unter2 is bad", "hunter2"),
        (r"value a\\\"b\\\"cd is bad", 'a"b"cd'),
        ("value cafe\u0301-pass is bad", "caf\u00e9-pass"),
        ("参数pw1不合法", "pw1"),
    ],
)
def test_other_ways_to_write_it(message: str, plaintext: str) -> None:
    said = scrub(message, plaintext.encode())
    assert said == WITHHELD or REDACTED in said
    assert plaintext not in said


@pytest.mark.parametrize("form", FORMS)
def test_a_code_or_id_may_not_hold_it_either(form: str) -> None:
    assert holds(f"InternalError.{FORMS[form]('hunter2')}", b"hunter2")
    assert not holds("InternalError", b"hunter2")
    assert not holds("AbcDef", b"bc")
