"""GET with TC3: the query is what is signed, byte for byte."""

from __future__ import annotations

import pytest

from tests.emulator.calling import Caller, b64
from tests.emulator.ways import FORM, code_of, encoded, get_tc3, rfc3986


@pytest.mark.parametrize("query", ["", "Limit=1", "Limit=1&Offset=0", "Offset=0&Limit=1"])
async def test_a_signed_call_is_let_in(caller: Caller, query: str) -> None:
    assert (await get_tc3(caller, "ListKeys", query))["TotalCount"] == 1


async def test_a_space_may_be_sent_either_way_if_it_is_signed_so(caller: Caller) -> None:
    parameters = {
        "KeyId": caller.emulator.demo_key_id,
        "Plaintext": b64(b"secret"),
        "EncryptionContext": '{"app": "a + b"}',
    }
    with_plus, with_20 = encoded(parameters), encoded(parameters, rfc3986)
    for query in (with_plus, with_20):
        blob = (await get_tc3(caller, "Encrypt", query))["CiphertextBlob"]
        opened = await caller.call(
            "Decrypt", {"CiphertextBlob": blob, "EncryptionContext": '{"app": "a + b"}'}
        )
        assert opened["Plaintext"] == b64(b"secret")
    exchanged = await get_tc3(caller, "Encrypt", with_plus, signed_query=with_20)
    assert code_of(exchanged) == "AuthFailure.SignatureFailure"


async def test_the_query_cannot_be_changed(caller: Caller) -> None:
    response = await get_tc3(caller, "ListKeys", "Limit=2", signed_query="Limit=1")
    assert code_of(response) == "AuthFailure.SignatureFailure"


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data", "text/plain"])
async def test_a_get_is_a_form(caller: Caller, content_type: str) -> None:
    response = await get_tc3(caller, "ListKeys", headers={"Content-Type": content_type})
    assert code_of(response) == "UnsupportedProtocol"
    assert code_of(await get_tc3(caller, "ListKeys", headers={"Content-Type": FORM})) == "ok"


async def test_the_body_of_a_get_means_nothing(caller: Caller) -> None:
    response = await get_tc3(caller, "ListKeys", "Limit=1", body='{"Limit":"nonsense"}')
    assert response["TotalCount"] == 1


async def test_types_are_given_back_to_texts(caller: Caller) -> None:
    response = await get_tc3(caller, "ListKeys", "Limit=one")
    assert response["Error"]["Message"] == "The value type of parameter `Limit` is not valid."


async def test_a_query_may_have_32_kib(caller: Caller) -> None:
    spaces = "&" * (32 * 1024)
    assert code_of(await get_tc3(caller, "ListKeys", spaces)) == "ok"
    response = await get_tc3(caller, "ListKeys", spaces + "&")
    assert code_of(response) == "RequestSizeLimitExceeded"
