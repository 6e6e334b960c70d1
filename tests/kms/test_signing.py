"""TC3 signatures: every step of the vendor's vectors, and the official SDK as the judge."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tencentcloud.common.credential import Credential
from tencentcloud.common.http.request import RequestInternal
from tencentcloud.kms.v20190118.kms_client import KmsClient as OfficialClient

from batchkms.kms.signing import (
    RequestSigner,
    canonical_request,
    derive_signing_key,
    signature,
    string_to_sign,
    utc_date,
)

# The vendor's worked example (documentation 1150/49447 and api/1005/34678). The \u escapes of
# the payload are literal. Vector A is that of older pages, B that of the current ones, where
# the asterisks are the key.
PAYLOAD = rb'{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}'
PAYLOAD_SHA256 = "35e9c5b0e3ae67532d3c9f17ead6c90222632e5b1ff7f6e89887f1398934f064"
TIMESTAMP_S = 1551113065
DATE = "2019-02-25"
CONTENT_TYPE = "application/json; charset=utf-8"
HOST = "cvm.tencentcloudapi.com"
SIGNED_A = [("content-type", CONTENT_TYPE), ("host", HOST)]
SIGNED_B = [*SIGNED_A, ("x-tc-action", "DescribeInstances")]
KEY_A = "Gu5t9xGARNpq86cd98joQYCN3" + "EXAMPLE"
KEY_B = "*" * 32


def step(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def test_the_payload_and_the_date_of_the_vectors() -> None:
    assert hashlib.sha256(PAYLOAD).hexdigest() == PAYLOAD_SHA256
    assert utc_date(TIMESTAMP_S) == DATE


@pytest.mark.parametrize(
    ("signed", "digest"),
    [
        (SIGNED_A, "5ffe6a04c0664d6b969fab9a13bdab201d63ee709638e2749d62a09ca18d7031"),
        (SIGNED_B, "7019a55be8395899b900fb5564e4200d984910f34794a27cb3fb7d10ff6a1e84"),
    ],
    ids=["A", "B"],
)
def test_canonical_request(signed: list[tuple[str, str]], digest: str) -> None:
    canonical = canonical_request(
        method="POST", query="", headers=signed, payload_sha256=PAYLOAD_SHA256
    )
    assert hashlib.sha256(canonical.encode()).hexdigest() == digest
    to_sign = string_to_sign(TIMESTAMP_S, DATE, "cvm", canonical)
    assert to_sign == f"TC3-HMAC-SHA256\n{TIMESTAMP_S}\n{DATE}/cvm/tc3_request\n{digest}"


@pytest.mark.parametrize(
    ("secret_key", "secret_date", "secret_service", "secret_signing"),
    [
        (
            KEY_A,
            "d1308c81fe71cfd4e06437bbc067b2b8a3d2d8c0e375d547f15c41d5214b395a",
            "3c7cb7c7795393edc14fd2e0e6434a518564b4504b88e94f5d11bf59ba3e7050",
            "ac658d5dde49e9bfdd14e04e062f66b05d9f637d44b8a8d845327d4a77f666b1",
        ),
        (
            KEY_B,
            "da98fb70dcf6b112dc21038d1eeeb3a95c74b4dcb12c1131f864f6066bd02be0",
            "8d70cbefb03939f929db64d32dc2ba89b1095620119fe3e050e2b18c5bd2752f",
            "b596b923aad85185e2d1f6659d2a062e0a86731226e021e61bfe06f7ed05f5af",
        ),
    ],
    ids=["A", "B"],
)
def test_every_step_of_the_signing_key(
    secret_key: str, secret_date: str, secret_service: str, secret_signing: str
) -> None:
    # The published steps must agree with one another before they can judge the last one.
    assert step(f"TC3{secret_key}".encode(), DATE).hex() == secret_date
    assert step(bytes.fromhex(secret_date), "cvm").hex() == secret_service
    assert derive_signing_key(secret_key, DATE, "cvm").hex() == secret_signing


@pytest.mark.parametrize(
    ("secret_key", "signed", "expected"),
    [
        (KEY_A, SIGNED_A, "72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168"),
        (KEY_B, SIGNED_B, "10b1a37a7301a02ca19a647ad722d5e43b4b3cff309d421d85b46093f6ab6c4f"),
    ],
    ids=["A", "B"],
)
def test_signature(secret_key: str, signed: list[tuple[str, str]], expected: str) -> None:
    canonical = canonical_request(
        method="POST", query="", headers=signed, payload_sha256=PAYLOAD_SHA256
    )
    to_sign = string_to_sign(TIMESTAMP_S, DATE, "cvm", canonical)
    assert signature(derive_signing_key(secret_key, DATE, "cvm"), to_sign) == expected


def test_the_signer_gives_the_whole_header_of_vector_a() -> None:
    signer = RequestSigner(host=HOST, service="cvm", content_type=CONTENT_TYPE)
    assert signer.authorization("AKIDEXAMPLE", KEY_A, TIMESTAMP_S, PAYLOAD_SHA256) == (
        "TC3-HMAC-SHA256 Credential=AKIDEXAMPLE/2019-02-25/cvm/tc3_request, "
        "SignedHeaders=content-type;host, "
        "Signature=72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168"
    )


def test_header_names_and_values_are_lowered_and_trimmed() -> None:
    canonical = canonical_request(
        method="POST", query="", headers=[("Host", "  KMS.Example \t")], payload_sha256="0"
    )
    assert canonical == "POST\n/\n\nhost:kms.example\n\nhost\n0"


def official_authorization(
    *, secret_id: str, secret_key: str, timestamp_s: int, host: str, body: bytes
) -> str:
    """The header that the official SDK's own signing code gives for a JSON POST."""
    request = RequestInternal(host, "POST", "/")
    request.header = {
        "Content-Type": "application/json",
        "Host": host,
        "X-TC-Timestamp": str(timestamp_s),
    }
    request.data = body
    client = OfficialClient(Credential(secret_id, secret_key), "ap-guangzhou")
    date = utc_date(timestamp_s)
    signed = client._get_tc3_signature({}, request, date, "kms", secret_key)
    return (
        f"TC3-HMAC-SHA256 Credential={secret_id}/{date}/kms/tc3_request, "
        f"SignedHeaders=content-type;host, Signature={signed}"
    )


words = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1)
calls = st.lists(
    st.tuples(st.sampled_from(["first-key", "second-key"]), st.integers(0, 4 * 10**9), st.binary()),
    min_size=1,
    max_size=6,
)


@given(
    secret_id=words,
    host=st.sampled_from(["kms.tencentcloudapi.com", "127.0.0.1:8443"]),
    calls=calls,
)
def test_one_signer_agrees_with_the_official_sdk_on_any_sequence_of_calls(
    secret_id: str, host: str, calls: list[tuple[str, int, bytes]]
) -> None:
    # One signer for them all: its cached key must follow the day and the secret key.
    signer = RequestSigner(host=host)
    for secret_key, timestamp_s, body in calls:
        ours = signer.authorization(
            secret_id, secret_key, timestamp_s, hashlib.sha256(body).hexdigest()
        )
        assert ours == official_authorization(
            secret_id=secret_id,
            secret_key=secret_key,
            timestamp_s=timestamp_s,
            host=host,
            body=body,
        )


@pytest.mark.parametrize("step_s", [-1, 0, 1])
def test_the_signing_key_changes_at_midnight_utc(step_s: int) -> None:
    midnight = 1551139200
    signer = RequestSigner(host=HOST)
    digest = hashlib.sha256(b"{}").hexdigest()
    signer.authorization("AKIDEXAMPLE", "key", midnight - 1, digest)
    assert signer.authorization("AKIDEXAMPLE", "key", midnight + step_s, digest) == (
        official_authorization(
            secret_id="AKIDEXAMPLE",
            secret_key="key",
            timestamp_s=midnight + step_s,
            host=HOST,
            body=b"{}",
        )
    )
