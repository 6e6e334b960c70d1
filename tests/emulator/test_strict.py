"""Strict: what official clients send to an address, and the real gateway does not take."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.emulator.calling import Caller, Clock
from tests.emulator.ways import FORM, call_v1, code_of, emulated, get_tc3, v1_pairs


@pytest.fixture
async def strict(tmp_path: Path, clock: Clock) -> AsyncIterator[Caller]:
    async with emulated(tmp_path, clock, strict=True) as caller:
        yield caller


async def test_what_is_right_is_let_in(strict: Caller) -> None:
    assert await strict.code("ListKeys") == "ok"
    assert await strict.code("ListKeys", path="/?") == "ok"
    assert await strict.code("ListKeys", headers={"X-TC-Language": "zh-CN"}) == "ok"
    assert code_of(await get_tc3(strict, "ListKeys", "Limit=1")) == "ok"
    for method in ("GET", "POST"):
        pairs = v1_pairs(strict, "ListKeys", Nonce=str(2**63 - 1), Language="en-US")
        assert code_of(await call_v1(strict, pairs, method=method)) == "ok"


async def test_the_service_is_kms(strict: Caller) -> None:
    name = strict.host.partition(".")[0]
    assert await strict.error("ListKeys", service=name) == (
        "AuthFailure.InvalidAuthorization",
        "The request `Authorization` header does not conform to tencentcloud standards: "
        "`Service` in Credential not valid.",
    )


async def test_the_host_is_signed_as_it_is_sent(strict: Caller) -> None:
    name = strict.host.partition(":")[0]
    signed = {"content-type": "application/json", "host": name}
    assert await strict.code("ListKeys", signed=signed) == "AuthFailure.SignatureFailure"
    response = await call_v1(strict, v1_pairs(strict, "ListKeys"), host=name)
    assert code_of(response) == "AuthFailure.SignatureFailure"


@pytest.mark.parametrize("nonce", ["0", str(2**63)])
async def test_a_nonce_is_a_positive_integer(strict: Caller, nonce: str) -> None:
    response = await call_v1(strict, v1_pairs(strict, "ListKeys", Nonce=nonce))
    assert response["Error"] == {
        "Code": "InvalidParameter",
        "Message": "Parameter `Nonce` type error.",
    }


@pytest.mark.parametrize("language", ["en", "zh-cn", "de-DE"])
async def test_only_two_languages_are_valid(strict: Caller, language: str) -> None:
    text = "A value specified in `{}` is not valid, is unsupported, or cannot be used."
    error = await strict.error("ListKeys", headers={"X-TC-Language": language})
    assert error == ("InvalidParameterValue", text.format("X-TC-Language"))
    response = await call_v1(strict, v1_pairs(strict, "ListKeys", Language=language))
    assert response["Error"]["Message"] == text.format("Language")


@pytest.mark.parametrize("content_type", ["application/json", FORM])
async def test_a_host_with_a_scheme_does_not_get_past_the_web_server(
    strict: Caller, content_type: str
) -> None:
    headers = {"Host": f"http://{strict.host}", "Content-Type": content_type}
    async with strict.session.post(strict.emulator.endpoint + "/", headers=headers) as answer:
        assert answer.status == 400
        assert "Response" not in await answer.text()
