"""Every failure of the gateway, in English and in Chinese, by both ways to sign."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchkms.emulator import Emulator
from batchkms.emulator.texts import BY_CODE, CHINESE, ENGLISH, Text
from tests.emulator.calling import NOW_S, Caller, Clock, calling
from tests.emulator.ways import call_v1, v1_pairs

# What is changed in a TC3 call, the code, and the text in English and Chinese. Where the Chinese
# text is not known, English is given.
MALFORMED = "The request `Authorization` header does not conform to tencentcloud standards"
EXPIRED = "The signature is expired, please request again."
TC3: list[tuple[dict[str, Any], str, str, str]] = [
    (
        {"secret_key": "another"},
        "AuthFailure.SignatureFailure",
        "The provided credentials could not be validated. Please check your signature is correct.",
        "请求签名验证失败，请检查您的签名计算是否正确。",
    ),
    (
        {"secret_id": "AKIDEXAMPLE"},
        "AuthFailure.SecretIdNotFound",
        "The SecretId is not found, please ensure that your SecretId is correct.",
        "SecretId不存在，请输入正确的密钥。",
    ),
    ({"timestamp_s": int(NOW_S) - 301}, "AuthFailure.SignatureExpire", EXPIRED, EXPIRED),
    (
        {"service": "cvm"},
        "AuthFailure.InvalidAuthorization",
        f"{MALFORMED}: `Service` in Credential not valid.",
        f"{MALFORMED}: `Service` in Credential not valid.",
    ),
    ({"headers": {"X-TC-Token": "t"}}, "AuthFailure.TokenFailure", "Token error.", "token错误。"),
    (
        {"headers": {"X-TC-Version": None}},
        "MissingParameter",
        "The request header is missing a required common parameter `X-TC-Version`.",
        "请求头部缺少必传的公共参数 `X-TC-Version`。",
    ),
    (
        {"headers": {"X-TC-Region": None}},
        "MissingParameter",
        "The request is missing a required parameter `Region`.",
        "请求缺少必传参数 `Region`。",
    ),
    (
        {"headers": {"X-TC-Region": "ap-nowhere"}},
        "InvalidParameterValue",
        "A value specified in `X-TC-Region` is not valid, is unsupported, or cannot be used.",
        "参数 `X-TC-Region` 取值错误。",
    ),
    (
        {"headers": {"X-TC-Content-SHA256": "0" * 64}},
        "InvalidParameterValue",
        "The value specified in `X-TC-Content-SHA256` is not correct.",
        "参数 `X-TC-Content-SHA256` 计算值不正确。",
    ),
    (
        {"body": b"{"},
        "InvalidParameter",
        "The request content not valid json format for specified content-type=application/json.",
        "对于指定content-type=application/json协议下，请求内容不是合法的Json格式。",
    ),
    (
        {"body": b'{"Limit":"1"}'},
        "InvalidParameter",
        "The value type of parameter `Limit` is not valid.",
        "参数 `Limit` 取值类型错误。",
    ),
    (
        {"body": b" " * (10 * 1024 * 1024 + 1)},
        "RequestSizeLimitExceeded",
        "The request size exceeds the upper limit.",
        "The request size exceeds the upper limit.",
    ),
]


@pytest.mark.parametrize(("changes", "code", "english", "chinese"), TC3)
async def test_both_texts(
    caller: Caller, changes: dict[str, Any], code: str, english: str, chinese: str
) -> None:
    for language, text in (
        ({}, english),
        ({"X-TC-Language": "en-US"}, english),
        ({"X-TC-Language": "zh-CN"}, chinese),
        ({"X-TC-Language": "de-DE"}, english),
    ):
        headers = {**changes.get("headers", {}), **language}
        assert await caller.error("ListKeys", **{**changes, "headers": headers}) == (code, text)


@pytest.mark.parametrize(
    ("parameters", "code", "english", "chinese"),
    [
        ({"Timestamp": "1"}, "AuthFailure.SignatureExpire", EXPIRED, EXPIRED),
        (
            {"SecretId": "AKIDEXAMPLE"},
            "AuthFailure.SecretIdNotFound",
            "The SecretId is not found, please ensure that your SecretId is correct.",
            "SecretId不存在，请输入正确的密钥。",
        ),
        ({"Token": "t"}, "AuthFailure.TokenFailure", "Token error.", "token错误。"),
        (
            {"Region": "ap-nowhere"},
            "InvalidParameterValue",
            "A value specified in `Region` is not valid, is unsupported, or cannot be used.",
            "参数 `Region` 取值错误。",
        ),
        (
            {"KeyIds.1": "a"},
            "InvalidParameter",
            "Parameter `KeyIds` invalid array format, array index must be continuous and starts "
            "with 0.",
            "参数 `KeyIds` 是非法是数组格式，数组下标必须是连续的而且从0下标开始。",
        ),
    ],
)
async def test_both_texts_with_signature_v1(
    caller: Caller, parameters: dict[str, str], code: str, english: str, chinese: str
) -> None:
    for language, text in (({}, english), ({"Language": "zh-CN"}, chinese)):
        pairs = v1_pairs(caller, "ListKeys", **parameters, **language)
        response = await call_v1(caller, pairs)
        assert response["Error"] == {"Code": code, "Message": text}


async def test_the_quota_in_chinese(tmp_path: Path, clock: Clock) -> None:
    emulator = Emulator(data_dir=tmp_path, rate_limit=1, clock=clock, ticks=clock)
    async with emulator, calling(emulator, clock) as caller:
        await caller.encrypt(b"secret")
        headers: dict[str, str | None] = {"X-TC-Language": "zh-CN"}
        assert await caller.error("Encrypt", headers=headers) == (
            "RequestLimitExceeded",
            "您当前每秒请求 `2` 次，超过了每秒频率上限 `1`，请稍后重试。",
        )


def test_english_stands_in_for_a_chinese_text_that_is_not_known() -> None:
    assert Text("a").told_in(CHINESE) == "a"
    assert Text("a", "甲").told_in(CHINESE) == "甲"
    assert Text("a", "甲").told_in(ENGLISH) == Text("a", "甲").told_in("fr-FR") == "a"
    assert Text("{n} a", "{n} 甲").format(n=1) == Text("1 a", "1 甲")


def test_every_documented_code_of_the_service_has_a_chinese_text() -> None:
    gateways_own = {code for code, text in BY_CODE.items() if not text.chinese}
    assert gateways_own == {
        "AuthFailure.SignatureExpire",
        "InvalidAction",
        "NoSuchVersion",
        "RequestSizeLimitExceeded",
        "UnsupportedProtocol",
        "UnsupportedRegion",
    }
