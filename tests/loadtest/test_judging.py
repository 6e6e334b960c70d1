"""What is an answer and what is none: as strict as the client, and nothing secret is kept."""

from __future__ import annotations

import base64
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms.errors import (
    CredentialsError,
    NetworkError,
    ProtocolError,
    ServiceError,
    verdict_for,
)
from batchkms.kms.transport import Answer
from batchkms.loadtest import judging
from batchkms.loadtest.contents import Content
from batchkms.loadtest.judging import ECHOED, Judge, Judged, classified
from batchkms.loadtest.mix import ACTIONS
from batchkms.loadtest.rows import Row
from batchkms.records import ErrorClass, Record

ID = "5b2e9a1c-0000-4000-8000-1234567890ab"
KEY_ID = "a1b2c3d4-0000-4000-8000-000000000000"
CANARY = "canary-5Tt8Wb62nR"

GOOD: dict[str, dict[str, Any]] = {
    "encrypt": {"KeyId": KEY_ID, "CiphertextBlob": "blob+/=_.:-"},
    "decrypt": {"KeyId": KEY_ID, "Plaintext": "aGk="},
    "reencrypt": {
        "KeyId": KEY_ID,
        "SourceKeyId": "other",
        "CiphertextBlob": "blob",
        "ReEncrypted": False,
    },
    "generate-data-key": {
        "KeyId": KEY_ID,
        "CiphertextBlob": "blob",
        "Plaintext": base64.b64encode(bytes(32)).decode(),
    },
}


def answer(response: Any, *, status: int = 200) -> Answer:
    """An answer with this `Response`."""
    return Answer(status, orjson.dumps({"Response": response}))


def content_of(action: str, row: Row | None = None) -> Content:
    """The content of a call that names a CMK if its action needs one."""
    return Content({}, None if action == "decrypt" else KEY_ID, row)


def judged(
    action: str,
    changes: dict[str, Any] | None = None,
    *,
    row: Row | None = None,
    status: int = 200,
    token: str | None = None,
) -> Judged:
    """What a good answer comes to, with some changes."""
    response = {**GOOD[action], "RequestId": ID, **(changes or {})}
    given = {name: value for name, value in response.items() if value is not ...}
    return Judge().judged(action, content_of(action, row), answer(given, status=status), token)


@pytest.mark.parametrize("action", ACTIONS)
def test_good_answers(action: str) -> None:
    assert judged(action) == Judged("ok", None, ID, True)
    assert judged(action, {"KeyId": KEY_ID.upper()}) == Judged("ok", None, ID, True)


WRONG = [
    *((action, {"KeyId": "other"}, "WrongKeyId") for action in ACTIONS if action != "decrypt"),
    *((action, {"KeyId": ...}, "WrongKeyId") for action in ("encrypt", "generate-data-key")),
    *(
        (action, {"CiphertextBlob": blob}, "MissingCiphertext")
        for action in ("encrypt", "reencrypt", "generate-data-key")
        for blob in (..., "", None, 7, "a b", "a\n", "\u00e9", "a\u0661")
    ),
    *(
        (action, {"Plaintext": plaintext}, "InvalidAnswer")
        for action in ("decrypt", "generate-data-key")
        for plaintext in (..., None, 7, "a", "aGk", "a Gk=", "\u00e9\u00e9\u00e9=")
    ),
    ("decrypt", {"KeyId": ...}, "InvalidAnswer"),
    ("decrypt", {"KeyId": "a b"}, "InvalidAnswer"),
    ("reencrypt", {"SourceKeyId": ...}, "InvalidAnswer"),
    ("reencrypt", {"ReEncrypted": ...}, "InvalidAnswer"),
    ("reencrypt", {"ReEncrypted": 1}, "InvalidAnswer"),
    ("generate-data-key", {"Plaintext": "aGk="}, "InvalidAnswer"),
    *((action, {"RequestId": ...}, "InvalidRequestId") for action in ACTIONS),
    *(("encrypt", {"RequestId": bad}, "InvalidRequestId") for bad in ("", "a\n", "a b", "x" * 129)),
    ("encrypt", {"Error": "x"}, "InvalidAnswer"),
    ("encrypt", {"Error": {"Code": "a b\n"}}, "InvalidAnswer"),
    ("encrypt", {"Error": {"Code": "x" * 129}}, "InvalidAnswer"),
]


@pytest.mark.parametrize(("action", "changes", "code"), WRONG)
def test_answers_that_are_none(action: str, changes: dict[str, Any], code: str) -> None:
    request_id = None if code == "InvalidRequestId" else ID
    assert judged(action, changes) == Judged("protocol", code, request_id, False)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        *((body, "NotJson") for body in (b"", b"<html>", b'{"Response":', b"\xff", b"[" * 9_999)),
        *((body, "NoResponse") for body in (b"{}", b"[]", b"null", b'{"Response":[]}')),
    ],
)
def test_bodies_that_are_no_answer(body: bytes, code: str) -> None:
    judge = Judge()
    expected = Judged("protocol", code, None, False)
    assert judge.judged("encrypt", content_of("encrypt"), Answer(200, body), None) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (503, Judged("internal", "Http503", None, True)),
        (429, Judged("throttled", "Http429", None, True)),
        (404, Judged("protocol", "HttpStatus", None, True)),
        (302, Judged("protocol", "Redirect", None, False)),
    ],
)
def test_a_good_answer_with_another_status(status: int, expected: Judged) -> None:
    assert judged("encrypt", status=status) == expected
    assert judged("encrypt", {"RequestId": ...}, status=status) == expected


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("RequestLimitExceeded", "throttled"),
        ("InternalError", "internal"),
        ("ResourceUnavailable.CmkDisabled", "key_unavailable"),
        ("AuthFailure.SignatureFailure", "unauthorized"),
        ("RequestLimitExceeded.UinLimitExceeded", "throttled"),
    ],
)
def test_errors_of_the_service(code: str, outcome: str) -> None:
    error = {"Error": {"Code": code, "Message": "no"}}
    for status in (200, 400):
        assert judged("encrypt", error, status=status) == Judged(outcome, code, ID, True)


@pytest.mark.parametrize(
    ("code", "outcome", "kept"),
    [
        ("Some.NewCode", "unknown", "UnknownCode"),
        ("AuthFailure.NewCode", "unauthorized", "AuthFailure.*"),
        ("InternalError.A.B", "internal", "InternalError.*"),
    ],
)
def test_a_code_that_nobody_knows_is_not_kept(code: str, outcome: str, kept: str) -> None:
    error = {"Error": {"Code": code, "Message": "no"}}
    assert judged("encrypt", error) == Judged(outcome, kept, ID, True)
    assert verdict_for(kept).error_class == outcome


def test_a_request_id_that_is_no_uuid_is_not_kept_and_known_again() -> None:
    judge = Judge()
    for _ in range(2):
        response = {**GOOD["encrypt"], "RequestId": ID}
        judge.judged("encrypt", content_of("encrypt"), answer(response), None)
    response = {**GOOD["encrypt"], "RequestId": "r-1"}
    good = judge.judged("encrypt", content_of("encrypt"), answer(response), None)
    again = judge.judged("encrypt", content_of("encrypt"), answer(response), None)
    assert good == Judged("ok", None, None, True)
    assert again == Judged("protocol", "RepeatedRequestId", None, False)


def test_an_answer_that_comes_again() -> None:
    judge = Judge()
    for number, code in enumerate([None, None, "RepeatedRequestId"]):
        response = {**GOOD["encrypt"], "RequestId": f"r-{min(number, 1)}"}
        found = judge.judged("encrypt", content_of("encrypt"), answer(response), None)
        assert (found.code, found.in_step) == (code, code is None)


@pytest.mark.parametrize("known", [b"hi", b""])
def test_another_plaintext_than_the_row_has_or_had(known: bytes) -> None:
    row = Row(Record(seq=1, id="1", ciphertext="blob", plaintext=known))
    assert judged("decrypt", row=row).outcome == "ok"
    assert judged("decrypt", row=row).outcome == "ok"
    found = judged("decrypt", {"Plaintext": "aG8="}, row=row)
    assert found == Judged("protocol", "WrongPlaintext", ID, False)
    found = judged("decrypt", {"Plaintext": "aG"}, row=row)
    assert found == Judged("protocol", "InvalidAnswer", ID, False)


def test_a_plaintext_is_not_learned_from_a_bad_answer() -> None:
    row = Row(Record(seq=1, id="1", ciphertext="blob"))
    assert judged("decrypt", {"Plaintext": "aG8=", "KeyId": ...}, row=row).outcome == "protocol"
    assert judged("decrypt", row=row).outcome == "ok"


SECRET_ROW = Row(Record(seq=1, id="1", plaintext=CANARY.encode()))
AS_IT_IS = [
    CANARY,
    CANARY.encode().hex(),
    base64.urlsafe_b64encode(CANARY.encode()).decode().rstrip("="),
    f"x-{CANARY}.9",
]
DISGUISED = [CANARY.upper(), CANARY[:13], CANARY[::-1]]


@pytest.mark.parametrize("written", AS_IT_IS)
def test_a_request_id_that_is_the_secret_of_the_call(written: str) -> None:
    changes = {"RequestId": written}
    assert judged("encrypt", changes, row=SECRET_ROW) == ECHOED
    error = {"Error": {"Code": "InternalError", "Message": "no"}}
    assert judged("encrypt", {**changes, **error}, row=SECRET_ROW) == ECHOED
    assert judged("encrypt", {"RequestId": CANARY}, token=f"{CANARY}==") == ECHOED


@pytest.mark.parametrize("written", [*AS_IT_IS, *DISGUISED])
@pytest.mark.parametrize("action", ACTIONS)
def test_no_request_id_with_the_secret_of_another_call_is_kept(written: str, action: str) -> None:
    assert judged(action, {"RequestId": written}) == Judged("ok", None, None, True)
    error = {"Error": {"Code": "InternalError", "Message": "no"}}
    found = judged(action, {**error, "RequestId": written})
    assert found == Judged("internal", "InternalError", None, True)


WORD = "Canary5Tt8.Wb62nR"
"""A plaintext that could be a code."""


@pytest.mark.parametrize("written", [WORD, f"Bad.{WORD}", WORD.encode().hex()])
def test_a_code_that_is_the_secret_of_the_call(written: str) -> None:
    row = Row(Record(seq=1, id="1", plaintext=WORD.encode()))
    error = {"Error": {"Code": written, "Message": "no"}}
    assert judged("encrypt", error, row=row) == ECHOED
    assert judged("encrypt", {"Error": {"Code": WORD}}, token=WORD) == ECHOED


@pytest.mark.parametrize("written", [WORD, WORD.lower(), WORD[:12], f"InternalError.{WORD}"])
def test_no_code_with_the_secret_of_another_call_is_kept(written: str) -> None:
    error = {"Error": {"Code": written, "Message": "no"}}
    assert judged("encrypt", error).code in ("UnknownCode", "InternalError.*")


def test_a_plaintext_that_a_uuid_can_hold() -> None:
    row = Row(Record(seq=1, id="1", plaintext=ID.upper().encode()))
    assert judged("encrypt", row=row) == ECHOED
    row = Row(Record(seq=1, id="1", plaintext=ID[-6:].encode()))
    assert judged("encrypt", row=row) == ECHOED
    row = Row(Record(seq=1, id="1", plaintext=b"999999"))
    assert judged("encrypt", row=row).outcome == "ok"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
NAMES = ("RequestId", "KeyId", "SourceKeyId", "CiphertextBlob", "Plaintext", "Error", "Code")


@given(
    action=st.sampled_from(sorted(ACTIONS)),
    response=st.dictionaries(st.sampled_from(NAMES), JSON | st.just(ID) | st.just(KEY_ID)) | JSON,
    status=st.integers(100, 599),
)
def test_nothing_that_is_answered_raises(action: str, response: Any, status: int) -> None:
    body = orjson.dumps({"Response": response})
    found = Judge().judged(action, content_of(action, SECRET_ROW), Answer(status, body), CANARY)
    assert found.outcome in {"ok", *ErrorClass}
    assert found.outcome != "ok" or found.in_step


@given(action=st.sampled_from(sorted(ACTIONS)), body=st.binary(max_size=200))
def test_no_bytes_raise(action: str, body: bytes) -> None:
    found = Judge().judged(action, content_of(action), Answer(200, body), None)
    assert found.outcome == "protocol"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NetworkError("AttemptTimeout", "no"), Judged("network", "AttemptTimeout", None, False)),
        (ProtocolError("AnswerTooLong", "no"), Judged("protocol", "AnswerTooLong", None, False)),
        (
            ServiceError("InternalError", "", request_id="r"),
            Judged("internal", "InternalError", "r", True),
        ),
        (
            CredentialsError("NoCredentials", ""),
            Judged("unauthorized", "NoCredentials", None, True),
        ),
    ],
)
def test_errors_of_the_connection(error: Any, expected: Judged) -> None:
    assert classified(error) == expected
    assert type(classified(error).outcome) is str


@given(
    st.one_of(
        st.uuids().map(str),
        st.uuids().map(lambda each: str(each).upper()),
        st.from_regex(r"[0-9a-fA-F-]{35,37}", fullmatch=True),
        st.text(max_size=40),
        st.tuples(st.uuids(), st.integers(0, 35), st.characters()).map(
            lambda parts: f"{str(parts[0])[: parts[1]]}{parts[2]}{str(parts[0])[parts[1] + 1 :]}"
        ),
    )
)
def test_a_uuid_is_what_the_regular_expression_says(text: str) -> None:
    uuid = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
    # `fullmatch` takes no line end after it, which the shape does not either.
    assert judging._is_plain(text, None) is (uuid.fullmatch(text) is not None)
