"""Signed requests as bytes: what the client sends, and what the official SDK would sign."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.common.sign import Sign
from tencentcloud.kms.v20190118.kms_client import KmsClient as OfficialClient

from batchkms.errors import ConfigError
from batchkms.kms.client import KmsClient
from batchkms.kms.credentials import Credentials, StaticCredentials
from batchkms.kms.endpoint import Endpoint, parse_endpoint
from batchkms.kms.signedrequests import SignatureMethod, V1Requests, signed_requests
from tests.kms.servers import answering, http

NOW_S = 1_700_000_000
HOST = "kms.tencentcloudapi.com:8080"
ENDPOINT = Endpoint("https", HOST)
LASTING = Credentials("EXAMPLE+/=", "key")
TEMPORARY = Credentials("EXAMPLE", "key", token="to ken+/=&%41")
METHODS: list[SignatureMethod] = ["tc3", "v1"]

# Whatever a body can hold, and the forms that are encoded in ways of their own.
VALUES = st.text(max_size=40) | st.from_regex(r"[A-Za-z0-9+/=_.-]{0,40}", fullmatch=True)
PARAMETERS = st.dictionaries(st.text("ABCxyz", min_size=1, max_size=9), VALUES, max_size=4)


@pytest.mark.parametrize("credentials", [LASTING, TEMPORARY])
async def test_tc3_is_what_the_client_sends(credentials: Credentials) -> None:
    answer = http(orjson.dumps({"Response": {"RequestId": "r-1"}}))
    parameters = {"KeyId": "k", "Plaintext": "aGk=", "EncryptionContext": '{"a":"\u00e9"}'}
    async with answering(answer) as (port, seen):
        endpoint = f"http://127.0.0.1:{port}"
        async with KmsClient(
            region="ap-guangzhou",
            endpoint=endpoint,
            credentials=StaticCredentials(credentials),
            wall_clock=lambda: NOW_S + 0.9,
        ) as kms:
            await kms.call("Encrypt", parameters)
        requests = signed_requests(parse_endpoint(endpoint), "ap-guangzhou")
        sent = requests.request("Encrypt", parameters, credentials, NOW_S)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        await reader.readexactly(len(answer))
        writer.transport.abort()
    clients, ours = seen.heads
    assert ours[0] == clients[0] == "POST / HTTP/1.1"
    assert sorted(ours) == sorted(clients)
    assert seen.bodies[0] == seen.bodies[1]


def test_each_action_and_time_has_its_own_head() -> None:
    requests = signed_requests(ENDPOINT, "r")
    for action in ("Encrypt", "Decrypt", "Encrypt"):
        for timestamp_s in (NOW_S, NOW_S + 86_400):
            head = requests.request(action, {}, LASTING, timestamp_s).decode()
            assert f"\r\nX-TC-Action: {action}\r\n" in head
            assert f"\r\nX-TC-Timestamp: {timestamp_s}\r\n" in head
            assert f"/{'2023-11-14' if timestamp_s == NOW_S else '2023-11-15'}/kms/" in head


@given(parameters=PARAMETERS, credentials=st.sampled_from([LASTING, TEMPORARY]))
def test_the_official_sdk_signs_the_same_form(
    parameters: dict[str, str], credentials: Credentials
) -> None:
    sent = V1Requests(ENDPOINT, "ap-guangzhou").request("Decrypt", parameters, credentials, NOW_S)
    head, _, form = sent.decode("ascii").partition("\r\n\r\n")
    assert f"\r\nContent-Length: {len(form)}" in head
    pairs = parse_qsl(form, keep_blank_values=True, strict_parsing=True)
    given = dict(pairs)
    assert len(given) == len(pairs)
    assert parameters.items() <= given.items()
    assert given.get("Token") == credentials.token
    signed = given.pop("Signature")
    profile = ClientProfile("HmacSHA256", HttpProfile(endpoint=HOST, reqMethod="POST"))
    to_sign = OfficialClient(None, "", profile)._format_sign_string(given)
    assert signed == Sign.sign(credentials.secret_key, to_sign, "HmacSHA256")


def test_no_nonce_comes_twice() -> None:
    requests = signed_requests(ENDPOINT, "r", method="v1")
    forms = [requests.request("Encrypt", {}, LASTING, NOW_S) for _ in range(100)]
    nonces = [int(dict(parse_qsl(form.decode()))["Nonce"]) for form in forms]
    assert len(set(nonces)) == 100
    assert all(1 <= nonce < 2**63 for nonce in nonces)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", ["", "a\r\nX-TC-Token: b", "a\nb", "a\0", "gu\u00e4ngzhou"])
def test_nothing_breaks_out_of_a_header(method: SignatureMethod, bad: str) -> None:
    with pytest.raises(ConfigError, match="the region"):
        signed_requests(ENDPOINT, bad, method=method)
    with pytest.raises(ConfigError, match="the host"):
        signed_requests(Endpoint("https", bad), "r", method=method)
    if bad:
        with pytest.raises(ConfigError, match="the user agent"):
            signed_requests(ENDPOINT, "r", method=method, user_agent=bad)
    with pytest.raises(ValueError, match="name of an action"):
        signed_requests(ENDPOINT, "r", method=method).request(bad, {}, LASTING, NOW_S)


@pytest.mark.parametrize("method", METHODS)
def test_no_secret_key_is_sent_or_shown(method: SignatureMethod) -> None:
    credentials = Credentials("EXAMPLE", "canary-of-a-secret-key")
    requests = signed_requests(ENDPOINT, "r", method=method, user_agent="mine/1")
    sent = requests.request("Encrypt", {"Plaintext": "aGk="}, credentials, NOW_S)
    assert b"canary" not in sent
    assert b"\r\nUser-Agent: mine/1\r\n" in sent
    assert "canary" not in repr(requests)
