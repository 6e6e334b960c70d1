"""Signature v1: what is let in, and what the others are told."""

from __future__ import annotations

from typing import Any

import pytest

from batchkms.kms.signing_v1 import signature_v1, string_to_sign_v1
from tests.emulator.calling import NOW_S, Caller, b64
from tests.emulator.ways import FORM, call_v1, code_of, encoded, rfc3986, send, v1_pairs

WRONG_SIGNATURE = (
    "AuthFailure.SignatureFailure",
    "The provided credentials could not be validated. Please check your signature is correct.",
)
MIB = 1024 * 1024


def error_of(response: dict[str, Any]) -> tuple[str, str]:
    error = response["Error"]
    return error["Code"], error["Message"]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("signing", ["", "HmacSHA1", "HmacSHA256", "HmacMD5"])
async def test_a_signed_call_is_let_in(caller: Caller, method: str, signing: str) -> None:
    pairs = v1_pairs(caller, "ListKeys", **({"SignatureMethod": signing} if signing else {}))
    assert code_of(await call_v1(caller, pairs, method=method)) == "ok"
    error = error_of(await call_v1(caller, pairs, method=method, secret_key="another"))
    assert error == WRONG_SIGNATURE


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("encode", [rfc3986, None])
async def test_values_arrive_as_they_were_signed(caller: Caller, method: str, encode: Any) -> None:
    context = '{"app": "billing + more & a=b", "名": "值 %41"}'
    sealing = v1_pairs(
        caller,
        "Encrypt",
        KeyId=caller.emulator.demo_key_id,
        Plaintext=b64(b"\xff\xfe?>~"),
        EncryptionContext=context,
    )
    how = {"method": method, **({"encode": encode} if encode else {})}
    blob = (await call_v1(caller, sealing, **how))["CiphertextBlob"]
    opening = v1_pairs(caller, "Decrypt", CiphertextBlob=blob, EncryptionContext=context)
    assert (await call_v1(caller, opening, **how))["Plaintext"] == b64(b"\xff\xfe?>~")


async def test_the_methods_of_signing_are_not_exchangeable(caller: Caller) -> None:
    pairs = v1_pairs(caller, "ListKeys", SignatureMethod="HmacSHA256")
    changed = await call_v1(caller, pairs, changes={"SignatureMethod": "HmacSHA1"})
    assert error_of(changed) == WRONG_SIGNATURE


@pytest.mark.parametrize("name", ["Nonce", "Timestamp", "Limit", "Action"])
async def test_what_is_signed_cannot_be_changed(caller: Caller, name: str) -> None:
    pairs = v1_pairs(caller, "ListKeys", Limit="10")
    changes = {"Action": "DescribeKey", "Timestamp": str(int(NOW_S) + 1)}
    changed = await call_v1(caller, pairs, changes={name: changes.get(name, "11")})
    assert error_of(changed) == WRONG_SIGNATURE


async def test_a_get_is_not_signed_as_a_post(caller: Caller) -> None:
    pairs = v1_pairs(caller, "ListKeys")
    sealed = signature_v1(
        caller.emulator.secret_key,
        string_to_sign_v1(method="POST", host=caller.host, parameters=pairs),
    )
    for method, expected in (("POST", "ok"), ("GET", "AuthFailure.SignatureFailure")):
        response = await call_v1(caller, pairs, method=method, changes={"Signature": sealed})
        assert code_of(response) == expected


async def test_the_host_is_signed(caller: Caller) -> None:
    response = await call_v1(caller, v1_pairs(caller, "ListKeys"), host="kms.tencentcloudapi.com")
    assert error_of(response) == WRONG_SIGNATURE


@pytest.mark.parametrize(
    "name", ["Action", "Version", "Timestamp", "Nonce", "SecretId", "Region", "Signature"]
)
async def test_a_missing_parameter_is_named(caller: Caller, name: str) -> None:
    pairs = v1_pairs(caller, "ListKeys")
    pairs.pop(name, None)
    if name == "Signature":
        response = await send(
            caller, "POST", "", body=encoded(pairs), headers={"Content-Type": FORM}
        )
    else:
        response = await call_v1(caller, pairs)
    assert error_of(response) == (
        "MissingParameter",
        f"The request is missing a required parameter `{name}`.",
    )


async def test_a_browser_that_opens_the_endpoint_is_told_what_is_missing(caller: Caller) -> None:
    assert error_of(await send(caller, "GET", "", headers={})) == (
        "MissingParameter",
        "The request is missing a required parameter `Action`.",
    )


async def test_an_unknown_secret_id(caller: Caller) -> None:
    response = await call_v1(caller, v1_pairs(caller, "ListKeys", SecretId="AKIDEXAMPLE"))
    assert code_of(response) == "AuthFailure.SecretIdNotFound"


async def test_a_token_where_there_is_none(caller: Caller) -> None:
    response = await call_v1(caller, v1_pairs(caller, "ListKeys", Token="something"))
    assert code_of(response) == "AuthFailure.TokenFailure"


@pytest.mark.parametrize(
    ("off_s", "code"),
    [(-301, "AuthFailure.SignatureExpire"), (301, "AuthFailure.SignatureExpire")]
    + [(off_s, "ok") for off_s in (-300, 1, 300)],
)
async def test_a_clock_may_be_off_by_300_s(caller: Caller, off_s: int, code: str) -> None:
    pairs = v1_pairs(caller, "ListKeys", Timestamp=str(int(NOW_S) + off_s))
    assert code_of(await call_v1(caller, pairs)) == code


@pytest.mark.parametrize("timestamp", ["", "now", "1.7e9", "-1", "٣", "1" * 13])
async def test_a_timestamp_that_is_no_number(caller: Caller, timestamp: str) -> None:
    response = await call_v1(caller, v1_pairs(caller, "ListKeys", Timestamp=timestamp))
    assert error_of(response) == (
        "InvalidParameter",
        "The value type of parameter `Timestamp` is not valid.",
    )


@pytest.mark.parametrize("nonce", ["0", "1", "65535", str(2**63 - 1)])
async def test_the_nonces_that_official_clients_draw(caller: Caller, nonce: str) -> None:
    assert code_of(await call_v1(caller, v1_pairs(caller, "ListKeys", Nonce=nonce))) == "ok"


@pytest.mark.parametrize("nonce", ["", "-1", "1.5", "x", "٣", "1" * 21])
async def test_a_nonce_that_is_no_number(caller: Caller, nonce: str) -> None:
    response = await call_v1(caller, v1_pairs(caller, "ListKeys", Nonce=nonce))
    assert error_of(response) == ("InvalidParameter", "Parameter `Nonce` type error.")


async def test_a_host_signed_without_its_port(caller: Caller) -> None:
    name = caller.host.partition(":")[0]
    assert code_of(await call_v1(caller, v1_pairs(caller, "ListKeys"), host=name)) == "ok"


@pytest.mark.parametrize(
    ("region", "code", "message"),
    [
        (
            "ap-nowhere",
            "InvalidParameterValue",
            "A value specified in `Region` is not valid, is unsupported, or cannot be used.",
        ),
        ("ap-beijing", "UnsupportedRegion", "The request `Region` is not served by this emulator."),
    ],
)
async def test_another_region(caller: Caller, region: str, code: str, message: str) -> None:
    response = await call_v1(caller, v1_pairs(caller, "ListKeys", Region=region))
    assert error_of(response) == (code, message)


async def test_a_query_that_is_no_query(caller: Caller) -> None:
    for query, message in (
        ("Action", "Url key and value should be splited by `=`."),
        ("=x", "The request has a parameter key which is empty string."),
        ("Action=a&Action=b", "Parameter `Action` input repeated."),
    ):
        response = await send(caller, "GET", query, headers={})
        assert error_of(response) == ("InvalidParameter", message)


async def test_a_form_may_have_1_mib(caller: Caller) -> None:
    fits = v1_pairs(caller, "ListKeys", RequestClient="x" * (MIB - 1000))
    assert code_of(await call_v1(caller, fits)) == "ok"
    response = await call_v1(caller, {**fits, "RequestClient": "x" * MIB})
    assert error_of(response) == (
        "AuthFailure.SignatureFailure",
        "The provided credentials could not be validated because of exceeding request size limit, "
        "please use new signature method `TC3-HMAC-SHA256`.",
    )


async def test_a_query_may_have_32_kib(caller: Caller) -> None:
    short = v1_pairs(caller, "ListKeys", RequestClient="x" * 32_000)
    assert code_of(await call_v1(caller, short, method="GET")) == "ok"
    long = v1_pairs(caller, "ListKeys", RequestClient="x" * 33_000)
    response = await call_v1(caller, long, method="GET")
    assert code_of(response) == "AuthFailure.SignatureFailure"
    assert "TC3-HMAC-SHA256" in response["Error"]["Message"]


async def test_bytes_that_are_no_text_are_just_wrong(caller: Caller) -> None:
    pairs = encoded(v1_pairs(caller, "ListKeys"))
    for damaged in ("&Signature=%ff%fe", "&Limit=%ff&Signature=a"):
        response = await send(
            caller, "POST", "", body=pairs + damaged, headers={"Content-Type": FORM}
        )
        assert code_of(response) == "AuthFailure.SignatureFailure"


async def test_types_are_given_back_to_texts(caller: Caller) -> None:
    pairs = v1_pairs(caller, "ListKeys", Limit="1", Offset="0")
    assert (await call_v1(caller, pairs))["TotalCount"] == 1
    for limit in ("one", "1.0", "", "0x1", " 1", "9" * 20, "-" + "9" * 20):
        response = await call_v1(caller, v1_pairs(caller, "ListKeys", Limit=limit))
        assert error_of(response) == (
            "InvalidParameter",
            "The value type of parameter `Limit` is not valid.",
        )


async def test_an_unknown_parameter_is_an_error(caller: Caller) -> None:
    response = await call_v1(caller, v1_pairs(caller, "ListKeys", Colour="red"))
    assert error_of(response) == ("UnknownParameter", "The parameter `Colour` is not recognized.")
