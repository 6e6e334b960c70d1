"""Signatures v1: the vendor's vectors, and the official SDK as the judge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.common.sign import Sign
from tencentcloud.kms.v20190118.kms_client import KmsClient as OfficialClient

from batchkms.kms.signing_v1 import HMAC_SHA1, HMAC_SHA256, signature_v1, string_to_sign_v1

# The worked example of the vendor's pages on signature v1. In the older pages both names end in
# EXAMPLE, in the current ones in asterisks, which are meant as they stand.
HOST = "cvm.tencentcloudapi.com"
ENDINGS = ("*" * 7, "EXAMPLE")


def pairs(ending: str) -> dict[str, str]:
    """The parameters of the example, not in the order of their names."""
    return {
        "Version": "2017-03-12",
        "Timestamp": "1465185768",
        "SecretId": "AKIDz8krbsJ5" + "yKBZQpn74WFkmLPx3" + ending,
        "Region": "ap-guangzhou",
        "Offset": "0",
        "Nonce": "11886",
        "Limit": "20",
        "InstanceIds.0": "ins-09dx96dg",
        "Action": "DescribeInstances",
    }


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_string_to_sign_of_the_vectors(ending: str) -> None:
    given = {**pairs(ending), "Signature": "is never signed"}
    assert string_to_sign_v1(method="GET", host=HOST, parameters=given) == (
        "GETcvm.tencentcloudapi.com/?Action=DescribeInstances&InstanceIds.0=ins-09dx96dg"
        "&Limit=20&Nonce=11886&Offset=0&Region=ap-guangzhou"
        f"&SecretId={pairs(ending)['SecretId']}&Timestamp=1465185768&Version=2017-03-12"
    )


@pytest.mark.parametrize(
    ("ending", "method", "expected"),
    [
        (ENDINGS[0], HMAC_SHA1, "zmmjn35mikh6pM3V7sUEuX4wyYM="),
        (ENDINGS[0], HMAC_SHA256, "LzvvZM+0Rl8Q51FXGiFEVp3AeXl2V8Wewa194M4b078="),
        (ENDINGS[1], HMAC_SHA1, "EliP9YW3pW28FpsEdkXt/+WcGeI="),
        (ENDINGS[1], HMAC_SHA256, "bR/zQ3QqOmcEYeRv71IzG/NxfisUDgy9cqRMQC+UB5g="),
    ],
)
def test_the_signatures_of_the_vectors(ending: str, method: str, expected: str) -> None:
    to_sign = string_to_sign_v1(method="GET", host=HOST, parameters=pairs(ending))
    secret_key = "Gu5t9xGARNpq86cd98joQYCN3" + ending
    assert signature_v1(secret_key, to_sign, signature_method=method) == expected


@pytest.mark.parametrize("method", ["", "HmacMD5", "hmacsha256", "HmacSHA256 "])
def test_any_other_method_means_sha1(method: str) -> None:
    assert signature_v1("key", "text", signature_method=method) == signature_v1("key", "text")


def test_names_are_sorted_as_texts() -> None:
    given = {"InstanceIds.2": "a", "InstanceIds.12": "b", "a": "c", "Z": "d"}
    assert string_to_sign_v1(method="POST", host="h:1", parameters=given) == (
        "POSTh:1/?InstanceIds.12=b&InstanceIds.2=a&Z=d&a=c"
    )


NAMES = st.text("ABCxyz.0123456789", min_size=1, max_size=12)


@given(
    parameters=st.dictionaries(NAMES, st.text(max_size=20)),
    secret_key=st.text(min_size=1, max_size=40),
    http_method=st.sampled_from(["GET", "POST"]),
    method=st.sampled_from([HMAC_SHA1, HMAC_SHA256]),
)
def test_the_official_sdk_signs_the_same(
    parameters: dict[str, str], secret_key: str, http_method: str, method: str
) -> None:
    host = "kms.tencentcloudapi.com:8080"
    profile = ClientProfile(
        signMethod=method, httpProfile=HttpProfile(endpoint=host, reqMethod=http_method)
    )
    official = OfficialClient(None, "", profile)
    to_sign = string_to_sign_v1(method=http_method, host=host, parameters=parameters)
    assert to_sign == official._format_sign_string(parameters)
    assert signature_v1(secret_key, to_sign, signature_method=method) == (
        Sign.sign(secret_key, to_sign, method)
    )
