"""What is made of an answer of the service, whatever its body and status."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms.errors import KmsError, ProtocolError, ServiceError
from batchkms.kms.answers import parse_answer, refuse_echo, refuse_token, without_secret
from batchkms.kms.scrub import long_forms
from batchkms.kms.transport import Answer


def response(**fields: Any) -> dict[str, Any]:
    return {"Response": {"RequestId": "r-1", **fields}}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "NotJson"),
        (b"<html>", "NotJson"),
        (b'{"Response":{"RequestId":"r-1"}', "NotJson"),
        (b"\xff\xfe", "NotJson"),
        (b'{"Response":{"RequestId":"r-1","n":NaN}}', "NotJson"),
        (b"null", "NoResponse"),
        (b"[]", "NoResponse"),
        (b"{}", "NoResponse"),
        (b'{"Response":null}', "NoResponse"),
        (b'{"Response":[]}', "NoResponse"),
        (b'{"Response":{}}', "InvalidRequestId"),
        (b'{"Response":{"RequestId":null}}', "InvalidRequestId"),
        (b'{"Response":{"RequestId":""}}', "InvalidRequestId"),
        (b'{"Response":{"RequestId":5}}', "InvalidRequestId"),
        (b'{"Response":{"RequestId":"two\\nlines"}}', "InvalidRequestId"),
        (b'{"Response":{"RequestId":"' + b"x" * 129 + b'"}}', "InvalidRequestId"),
        (b'{"Response":{"Error":{"Code":"InternalError"}}}', "InvalidRequestId"),
        (b'{"Response":{"RequestId":"r-1","Error":{}}}', "InvalidAnswer"),
        (b'{"Response":{"RequestId":"r-1","Error":"x"}}', "InvalidAnswer"),
        (b'{"Response":{"RequestId":"r-1","Error":{"Code":""}}}', "InvalidAnswer"),
        (b'{"Response":{"RequestId":"r-1","Error":{"Code":5}}}', "InvalidAnswer"),
    ],
)
def test_what_is_no_valid_answer(body: bytes, code: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_answer(Answer(200, body))
    assert caught.value.code == code
    # With another status than 200, the status is the better reason, unless there was an Error.
    with pytest.raises(KmsError) as caught_too:
        parse_answer(Answer(502, body))
    assert caught_too.value.code == ("Http502" if code != "InvalidAnswer" else code)


@pytest.mark.parametrize("status", [200, 400, 403, 500, 503])
def test_an_error_of_the_service_is_believed_with_any_status(status: int) -> None:
    body = {"Error": {"Code": "AuthFailure.SignatureExpire", "Message": "The signature is expired"}}
    with pytest.raises(ServiceError) as caught:
        parse_answer(Answer(status, orjson.dumps(response(**body))))
    assert caught.value.code == "AuthFailure.SignatureExpire"
    assert caught.value.message == "The signature is expired"
    assert caught.value.request_id == "r-1"


@pytest.mark.parametrize(
    ("message", "said"), [(None, ""), (5, "5"), ("m", "m")], ids=["none", "number", "text"]
)
def test_the_message_of_an_error(message: Any, said: str) -> None:
    body = orjson.dumps(response(Error={"Code": "X", "Message": message}))
    with pytest.raises(ServiceError) as caught:
        parse_answer(Answer(200, body))
    assert caught.value.message == said


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (204, "HttpStatus", False),
        (301, "Redirect", False),
        (307, "Redirect", False),
        (400, "HttpStatus", False),
        (403, "HttpStatus", False),
        (404, "HttpStatus", False),
        (407, "HttpStatus", False),
        (429, "Http429", True),
        (500, "Http500", True),
        (502, "Http502", True),
        (503, "Http503", True),
        (504, "Http504", True),
        (520, "Http5xx", True),
        (599, "Http5xx", True),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"Response":{"RequestId":"r-1"}}'])
def test_http_statuses(status: int, code: str, retryable: bool, body: bytes) -> None:
    with pytest.raises(KmsError) as caught:
        parse_answer(Answer(status, body))
    assert (caught.value.code, caught.value.verdict.retryable) == (code, retryable)
    assert str(status) in caught.value.message


@given(
    document=st.recursive(
        st.none() | st.booleans() | st.text() | st.integers(0, 9),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["Response", "Error", "RequestId", "Code"]), inner)
        ),
    ),
    status=st.sampled_from([200, 500]),
)
def test_any_json_is_a_response_or_a_kms_error(document: Any, status: int) -> None:
    try:
        body = orjson.dumps(document)
    except TypeError:
        return  # a lone surrogate, which JSON over the wire cannot hold
    try:
        answer = parse_answer(Answer(status, body))
    except KmsError as error:
        assert error.code
    else:
        assert isinstance(answer["RequestId"], str) and answer["RequestId"]


LONG = "".join(f"Kx{number:04}" for number in range(600))
"""A secret that is longer than any code."""


@pytest.mark.parametrize("piece", [LONG[1_000:1_012], LONG[:12].upper(), LONG.encode().hex()[5:17]])
def test_a_piece_of_a_long_secret_in_a_code_or_request_id(piece: str) -> None:
    for error in (
        ServiceError(piece, "m"),
        ServiceError(f"InternalError.{piece}", "m"),
        ServiceError("InternalError", "m", request_id=f"r-{piece}"),
    ):
        assert without_secret(error, LONG.encode()).code == "EchoedPlaintext"
    with pytest.raises(ProtocolError) as caught:
        refuse_echo({"RequestId": piece}, LONG.encode(), b64encode(LONG.encode()).decode())
    assert caught.value.code == "EchoedPlaintext"
    with pytest.raises(ProtocolError) as caught:
        refuse_token({"RequestId": piece}, long_forms(LONG.encode()))
    assert caught.value.code == "EchoedPlaintext"


def test_the_words_of_the_service_are_no_piece_of_a_secret() -> None:
    uuid = "5b2e9a1c-0000-4000-8000-1234567890ab"
    secret = f"InvalidParameterValue of {uuid} and more of it".encode()
    error = ServiceError("InvalidParameterValue.NewCode", "m", request_id=uuid[:-4] + "ffff")
    assert without_secret(error, secret).code == "InvalidParameterValue.NewCode"
