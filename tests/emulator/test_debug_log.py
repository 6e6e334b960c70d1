"""What a wrong signature writes to the log at level debug: the text to compare with, no secret."""

from __future__ import annotations

import hashlib
import logging

import pytest

from tests.emulator.calling import Caller, b64
from tests.emulator.ways import FORM, call_v1, encoded, get_tc3, v1_pairs

CANARY = "canary-in-a-parameter"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, logger="batchkms.emulator")
    return caplog


async def test_the_canonical_request_of_a_post(
    caller: Caller, lines: pytest.LogCaptureFixture
) -> None:
    body = f'{{"Plaintext":"{CANARY}"}}'.encode()
    await caller.code("Encrypt", body=body, secret_key="another")
    canonical = (
        f"POST\n/\n\ncontent-type:application/json\nhost:{caller.host}\n\n"
        f"content-type;host\n{hashlib.sha256(body).hexdigest()}"
    )
    assert repr(canonical) in lines.text
    assert caller.emulator.secret_id in lines.text
    assert CANARY not in lines.text


async def test_the_canonical_request_of_a_get(
    caller: Caller, lines: pytest.LogCaptureFixture
) -> None:
    query = encoded({"KeyId": CANARY, "Plaintext": b64(CANARY.encode())}) + "&" + CANARY
    await get_tc3(caller, "Encrypt", query, signed_query="")
    shapes = f"KeyId=<{len(CANARY)} characters>&Plaintext=<"
    assert f"GET\\n/\\n{shapes}" in lines.text
    assert f"content-type:{FORM}" in lines.text
    assert CANARY not in lines.text
    assert b64(CANARY.encode()) not in lines.text


async def test_the_string_to_sign_of_signature_v1(
    caller: Caller, lines: pytest.LogCaptureFixture
) -> None:
    pairs = v1_pairs(caller, "Encrypt", KeyId=CANARY, Plaintext=CANARY)
    await call_v1(caller, pairs, secret_key="another")
    assert (
        f"POST{caller.host}/?Action=Encrypt&KeyId=<{len(CANARY)} characters>&Nonce=11886&Plaintext="
    ) in lines.text
    assert CANARY not in lines.text


async def test_signed_headers_that_could_be_secret_have_their_shape_only(
    caller: Caller, lines: pytest.LogCaptureFixture
) -> None:
    signed = {
        "content-type": "application/json",
        "host": caller.host,
        "x-tc-action": "ListKeys",
        "x-tc-traceid": CANARY,
    }
    await caller.code(
        "ListKeys", signed=signed, secret_key="another", headers={"X-TC-TraceId": CANARY}
    )
    assert f"x-tc-action:listkeys\\nx-tc-traceid:<{len(CANARY)} characters>\\n" in lines.text
    assert CANARY not in lines.text


async def test_nothing_is_written_at_other_levels(
    caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="batchkms.emulator")
    await caller.code("ListKeys", secret_key="another")
    assert caplog.text == ""


async def test_neither_key_nor_signature_is_written(
    caller: Caller, lines: pytest.LogCaptureFixture
) -> None:
    good = caller.headers("ListKeys", b"{}")["Authorization"]
    sealed = good.rpartition("=")[2]
    await caller.code("ListKeys", body=b"{ }", headers={"Authorization": good})
    assert "wrong signature" in lines.text
    for secret in (sealed, caller.emulator.secret_key):
        assert secret not in lines.text
