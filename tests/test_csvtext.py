"""The formula guard: nothing it writes is run, and everything comes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batchkms.csvtext import guard, unguard

RISKY = "=+-@\t\r\n"


@given(st.text() | st.text(st.sampled_from("'=+-@\t\r\n a")))
def test_what_was_guarded_comes_back(text: str) -> None:
    assert unguard(guard(text)) == text


@given(st.text() | st.text(st.sampled_from("'=+-@\t\r\n a")))
def test_nothing_guarded_starts_a_formula(text: str) -> None:
    assert not guard(text).startswith(tuple(RISKY))


def test_ordinary_text_is_written_as_it_is() -> None:
    for text in ("", "prod/db", "1", "a=b", "it's", " =1"):
        assert guard(text) == text


def test_two_texts_never_look_the_same_when_guarded() -> None:
    texts = ["=1", "'=1", "''=1", "1", "'1"]
    assert len({guard(text) for text in texts}) == len(texts)
