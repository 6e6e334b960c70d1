"""Who is let in, and what the others are told: code and text of every authentication failure."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.emulator.calling import NOW_S, Caller

MALFORMED = "The request `Authorization` header does not conform to tencentcloud standards"
WRONG_SIGNATURE = (
    "AuthFailure.SignatureFailure",
    "The provided credentials could not be validated. Please check your signature is correct.",
)
EXPIRED = (
    "AuthFailure.SignatureExpire",
    "The signature is expired, please request again.",
)


async def test_a_signed_call_is_let_in(caller: Caller) -> None:
    assert await caller.code("ListKeys") == "ok"


async def test_the_query_mark_of_the_async_sdk_is_no_query(caller: Caller) -> None:
    assert await caller.code("ListKeys", path="/?") == "ok"


@pytest.mark.parametrize(
    "header", ["Authorization", "X-TC-Action", "X-TC-Version", "X-TC-Timestamp", "Content-Type"]
)
async def test_a_missing_header_is_named(caller: Caller, header: str) -> None:
    assert await caller.error("ListKeys", headers={header: None}) == (
        "MissingParameter",
        f"The request header is missing a required common parameter `{header}`.",
    )


async def test_a_missing_region_is_named(caller: Caller) -> None:
    assert await caller.error("ListKeys", headers={"X-TC-Region": None}) == (
        "MissingParameter",
        "The request is missing a required parameter `Region`.",
    )


async def test_an_unknown_secret_id(caller: Caller) -> None:
    assert await caller.error("ListKeys", secret_id="AKIDEXAMPLE") == (
        "AuthFailure.SecretIdNotFound",
        "The SecretId is not found, please ensure that your SecretId is correct.",
    )


async def test_a_wrong_secret_key(caller: Caller) -> None:
    assert await caller.error("ListKeys", secret_key="another") == WRONG_SIGNATURE


@pytest.mark.parametrize(
    "changed",
    [
        {"Content-Type": "application/json; charset=utf-8"},
        {"Host": "kms.tencentcloudapi.com"},
        {"X-TC-Timestamp": str(int(NOW_S) + 1)},
    ],
)
async def test_what_is_signed_cannot_be_changed(
    caller: Caller, changed: dict[str, str | None]
) -> None:
    assert await caller.error("ListKeys", headers=changed) == WRONG_SIGNATURE


async def test_the_body_cannot_be_changed(caller: Caller) -> None:
    signed = caller.headers("ListKeys", b'{"Limit":1}')
    error = await caller.error("ListKeys", body=b'{"Limit":2}', headers=dict(signed))
    assert error == WRONG_SIGNATURE


async def test_more_headers_may_be_signed_and_then_cannot_be_changed(caller: Caller) -> None:
    signed = {
        "content-type": "application/json",
        "host": caller.host,
        "x-tc-action": "ListKeys",
    }
    assert await caller.code("ListKeys", signed=signed) == "ok"
    changed = await caller.code(
        "ListKeys", signed=signed, headers={"X-TC-Action": "GetServiceStatus"}
    )
    assert changed == "AuthFailure.SignatureFailure"


@pytest.mark.parametrize("off_s", [-301, 301])
async def test_a_clock_that_is_off_by_more_than_300_s(caller: Caller, off_s: int) -> None:
    assert await caller.error("ListKeys", timestamp_s=int(NOW_S) + off_s) == EXPIRED


@pytest.mark.parametrize("off_s", [-300, 300])
async def test_a_clock_that_is_off_by_300_s_is_good_enough(caller: Caller, off_s: int) -> None:
    assert await caller.code("ListKeys", timestamp_s=int(NOW_S) + off_s) == "ok"


@pytest.mark.parametrize("timestamp", ["", "now", "1.7e9", "-1", "٣", "1" * 13])
async def test_a_timestamp_that_is_no_number(caller: Caller, timestamp: str) -> None:
    assert await caller.error("ListKeys", headers={"X-TC-Timestamp": timestamp}) == (
        "InvalidParameter",
        "The value type of parameter `X-TC-Timestamp` is not valid.",
    )


@pytest.mark.parametrize(
    ("signing", "part"),
    [
        ({"service": "cvm"}, "`Service` in Credential"),
        ({"service": ""}, "`Service` in Credential"),
        ({"date": "2023-11-13"}, "`Date` in Credential"),
        ({"date": "14.11.2023"}, "`Date` in Credential"),
        ({"signed": {"host": "127.0.0.1"}}, "`SignedHeaders`"),
        ({"signed": {"content-type": "application/json"}}, "`SignedHeaders`"),
        ({"signed": {"host": "127.0.0.1", "content-type": "a"}}, "`SignedHeaders`"),
        ({"signed": {"content-type": "a", "host": "b", "x-absent": "c"}}, "`SignedHeaders`"),
        ({"signed": {"X-TC-Action": "a", "content-type": "a", "host": "b"}}, "`SignedHeaders`"),
    ],
)
async def test_a_scope_or_list_of_headers_that_cannot_be(
    caller: Caller, signing: dict[str, Any], part: str
) -> None:
    assert await caller.error("ListKeys", **signing) == (
        "AuthFailure.InvalidAuthorization",
        f"{MALFORMED}: {part} not valid.",
    )


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "SKIP",
        "TC3-HMAC-SHA256",
        "Basic dTpw",
        "TC3-HMAC-SHA256 Credential=AKIDEXAMPLE, SignedHeaders=content-type;host, Signature=0",
        "TC3-HMAC-SHA256 Credential=a/2023-11-14/kms/tc3_request, Signature=0",
        "TC3-HMAC-SHA1 Credential=a/2023-11-14/kms/tc3_request, SignedHeaders=host, Signature=0",
    ],
)
async def test_an_authorization_of_another_form(caller: Caller, authorization: str) -> None:
    error = await caller.error("ListKeys", headers={"Authorization": authorization})
    assert error == ("AuthFailure.InvalidAuthorization", f"{MALFORMED}.")


@pytest.mark.parametrize("given", ["", "0" * 64, "0" * 63, "é" * 64, "F" * 64])
async def test_a_signature_that_is_none(caller: Caller, given: str) -> None:
    good = caller.headers("ListKeys", b"{}")["Authorization"]
    forged = good[: good.index("Signature=")] + f"Signature={given}"
    assert await caller.error("ListKeys", headers={"Authorization": forged}) == WRONG_SIGNATURE


async def test_a_token_where_there_is_none(caller: Caller) -> None:
    code = await caller.code("ListKeys", headers={"X-TC-Token": "something"})
    assert code == "AuthFailure.TokenFailure"


async def test_an_unsigned_payload_is_signed_as_its_literal_name(caller: Caller) -> None:
    literal = hashlib.sha256(b"UNSIGNED-PAYLOAD").hexdigest()
    header: dict[str, str | None] = {"X-TC-Content-SHA256": "UNSIGNED-PAYLOAD"}
    assert await caller.code("ListKeys", content_sha256=literal, headers=header) == "ok"
    assert await caller.error("ListKeys", headers=header) == WRONG_SIGNATURE


async def test_a_hash_that_is_not_the_bodys(caller: Caller) -> None:
    assert await caller.error("ListKeys", headers={"X-TC-Content-SHA256": "0" * 64}) == (
        "InvalidParameterValue",
        "The value specified in `X-TC-Content-SHA256` is not correct.",
    )


async def test_the_node_sdk_signs_the_host_without_its_port(caller: Caller) -> None:
    name = caller.host.partition(":")[0]
    signed = {"content-type": "application/json", "host": name}
    assert await caller.code("ListKeys", service=name.partition(".")[0], signed=signed) == "ok"


async def test_the_node_sdk_takes_localhost_with_its_port_for_the_service(caller: Caller) -> None:
    host = f"localhost:{caller.host.rpartition(':')[2]}"
    signed = {"content-type": "application/json", "host": "localhost"}
    headers: dict[str, str | None] = {"Host": host}
    assert await caller.code("ListKeys", service=host, signed=signed, headers=headers) == "ok"
    assert await caller.code("ListKeys", service=host, signed=signed) != "ok"


async def test_tccli_sends_and_signs_a_host_with_a_scheme(caller: Caller) -> None:
    host = f"http://{caller.host}"
    signed = {"content-type": "application/json", "host": host}
    assert await caller.code("ListKeys", signed=signed, headers={"Host": host}) == "ok"


async def test_two_equal_calls_in_one_second_are_no_replay(caller: Caller) -> None:
    assert [await caller.code("ListKeys") for _ in range(2)] == ["ok", "ok"]


async def test_the_signing_key_follows_the_date(caller: Caller) -> None:
    assert await caller.code("ListKeys") == "ok"
    caller.clock.now_s += 86_400
    assert await caller.code("ListKeys") == "ok"


async def test_a_caller_without_a_valid_signature_learns_nothing_of_the_action(
    caller: Caller,
) -> None:
    for action in ("ListKeys", "NoSuchAction"):
        code = await caller.code(action, {"Nonsense": 1}, secret_key="another")
        assert code == "AuthFailure.SignatureFailure"
