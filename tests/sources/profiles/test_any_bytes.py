"""Any bytes at all, and damaged exports: rows or one of two errors, never a traceback."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchkms.errors import VERDICTS, InputError
from batchkms.records import ErrorClass, Result
from batchkms.sources.profiles import PROFILES
from tests.sources.given import Outcome, cut, outcome
from tests.sources.profiles.samples import reader, sample

PIECES = [
    *(b"\0", b'"', b"'", b",", b"\r", b"\n", b"=", b"#", b"{", b"}", b"[", b"]", b":", b"\\"),
    *(b"null", b"17", b"1e999", b"\\ud800", b"\xc3", b"\xff", b"A=", b"export ", b"-----BEGIN "),
    *(b'"items":', b'"data":', b'"name":', b'"kind":"List"', b'"x"', b"[" * 1_100, b"x" * 300),
]

every_profile = pytest.mark.parametrize("profile", PROFILES)


def _check(found: Outcome) -> None:
    assert [row.seq for row in found.rows] == list(range(1, len(found.rows) + 1))
    for row in found.rows:
        if isinstance(row, Result):
            assert row.error_class is ErrorClass.INVALID_RECORD
            assert row.code in VERDICTS
            assert ": " in (row.message or "")
    if found.error is not None:
        assert found.error.hint
    if isinstance(found.error, InputError):
        assert not found.rows


@every_profile
@settings(max_examples=60, deadline=None)
@given(
    content=st.binary(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join),
    places=st.lists(st.integers(0, 400), max_size=4),
)
@example(content=b"x" * 300 + b"A=", places=[201])
def test_any_bytes(profile: str, content: bytes, places: Sequence[int]) -> None:
    found = outcome(reader(profile, longest=200), cut(content, places))
    _check(found)
    whole = outcome(reader(profile, longest=200), [content])
    assert found.comparable() == whole.comparable()


@every_profile
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_export(profile: str, data: st.DataObject) -> None:
    content = bytearray(sample(profile).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        count = data.draw(st.integers(0, 30))
        content[at : at + count] = data.draw(st.sampled_from([b"", *PIECES]))
    found = outcome(reader(profile, longest=2_000), [bytes(content)])
    _check(found)
    for row in found.rows:
        if isinstance(row, Result):
            assert "fake" not in (row.message or "")
    if found.error is not None:
        assert "fake" not in f"{found.error.message} {found.error.hint}"


_NAMES = [
    *("items", "folders", "collections", "type", "fields", "value", "login", "password", "notes"),
    *("card", "data", "metadata", "stringData", "kind", "SecretValues", "SecretString", "Errors"),
    *("SecretBinary", "Name", "path", "version", "created_time", "hunter2SECRET"),
]
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.just("hunter2SECRET"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(_NAMES),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)
_TOPS: dict[str, dict[str, object]] = {
    "bitwarden-json": {"encrypted": False},
    "vault-kv-json": {"request_id": "r"},
    "aws-secretsmanager-json": {"ARN": "a"},
    "k8s-secret-list": {"kind": "SecretList"},
}
_HOLDERS = {
    "bitwarden-json": "items",
    "vault-kv-json": "data",
    "aws-secretsmanager-json": "SecretValues",
    "k8s-secret-list": "items",
}


@pytest.mark.parametrize("profile", _TOPS)
@settings(max_examples=200, deadline=None)
@given(parts=st.lists(_JSON, max_size=3), whole=_JSON)
def test_json_of_any_shape(profile: str, parts: list[object], whole: object) -> None:
    held = whole if profile == "vault-kv-json" else parts
    text = json.dumps({**_TOPS[profile], _HOLDERS[profile]: held})
    found = outcome(reader(profile), [(text + json.dumps([whole])).encode()])
    _check(found)
    messages = [row.message or "" for row in found.rows if isinstance(row, Result)]
    if found.error is not None:
        messages += [found.error.message, found.error.hint or ""]
    assert not any("hunter2" in message for message in messages)
