"""`/_emulator/*`: who may ask, what is told, and that nothing told is a secret."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from batchkms.emulator.control import Control
from batchkms.emulator.gateway import Gateway
from batchkms.errors import ConfigError
from tests.emulator.calling import NOW_S, Caller, b64
from tests.emulator.ways import call_v1, get_tc3, v1_pairs

CANARY = "canary-that-nobody-may-see"


async def asked(
    caller: Caller, method: str, name: str, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    url = f"{caller.emulator.endpoint}/_emulator/{name}"
    async with caller.session.request(method, url, headers=headers) as answer:
        return answer.status, await answer.read()


async def requests(caller: Caller) -> list[dict[str, Any]]:
    status, body = await asked(caller, "GET", "requests")
    assert status == 200
    return list(orjson.loads(body)["requests"])


@pytest.mark.parametrize("name", ["stats", "requests"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost:80"},
        {"Host": "LOCALHOST"},
        {"Host": "127.0.0.1:8080"},
        {"Host": "[::1]:8080"},
        {"Host": "192.0.2.1"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
)
async def test_programs_may_ask_on_loopback(
    caller: Caller, name: str, headers: dict[str, str]
) -> None:
    assert (await asked(caller, "GET", name, headers))[0] == 200


@pytest.mark.parametrize(
    ("method", "name"), [("GET", "stats"), ("GET", "requests"), ("POST", "reset")]
)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.com"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "rebound.example.com"},
        {"Host": "127.0.0.1.example.com"},
        {"Host": "localhost.example.com:80"},
        {"Host": "[::1].example.com"},
        {"Host": ""},
        {"Host": "http://127.0.0.1"},
    ],
)
async def test_web_pages_may_not(
    caller: Caller, method: str, name: str, headers: dict[str, str]
) -> None:
    status, body = await asked(caller, method, name, headers)
    assert (status, orjson.loads(body)) == (403, {"error": "not for web pages"})


@pytest.mark.parametrize(
    ("method", "name", "status"),
    [
        ("POST", "stats", 405),
        ("DELETE", "requests", 405),
        ("GET", "nonsense", 404),
        ("GET", "", 404),
        ("GET", "stats/", 404),
    ],
)
async def test_what_is_not_there(caller: Caller, method: str, name: str, status: int) -> None:
    assert (await asked(caller, method, name))[0] == status


async def test_calls_are_kept_in_the_order_of_their_answers(caller: Caller) -> None:
    listed = await caller.call("ListKeys")
    key_id = caller.emulator.demo_key_id
    caller.clock.now_s += 1
    encrypted = await caller.call("Encrypt", {"KeyId": key_id, "Plaintext": b64(b"secret")})
    decrypted = await caller.call("Decrypt", {"CiphertextBlob": encrypted["CiphertextBlob"]})
    failed = await caller.call("ListKeys", secret_key="another")
    secret_id = caller.emulator.secret_id
    told = [
        (NOW_S, "ListKeys", None, secret_id, None, listed),
        (NOW_S + 1, "Encrypt", key_id, secret_id, None, encrypted),
        (NOW_S + 1, "Decrypt", key_id, secret_id, None, decrypted),
        (NOW_S + 1, "ListKeys", None, None, "AuthFailure.SignatureFailure", failed),
    ]
    assert await requests(caller) == [
        {
            "time": time,
            "action": action,
            "key_id": key,
            "secret_id": who,
            "code": code,
            "request_id": response["RequestId"],
            "latency_ms": 0.0,
        }
        for time, action, key, who, code, response in told
    ]


async def test_only_the_last_calls_are_kept(caller: Caller) -> None:
    for _ in range(1005):
        last = await caller.call("ListKeys")
    kept = await requests(caller)
    assert len(kept) == 1000
    assert kept[-1]["request_id"] == last["RequestId"]


async def test_nothing_that_a_caller_made_up_is_kept(caller: Caller) -> None:
    canary64 = b64(CANARY.encode())
    key_id = caller.emulator.demo_key_id
    sealed = await caller.call("Encrypt", {"KeyId": key_id, "Plaintext": canary64})
    await caller.call("Decrypt", {"CiphertextBlob": sealed["CiphertextBlob"]})
    await caller.call("Encrypt", {"KeyId": CANARY, "Plaintext": CANARY})
    await caller.call("Encrypt", {CANARY: CANARY})
    await caller.call(CANARY)
    await caller.call("ListKeys", secret_id=CANARY)
    await caller.call("ListKeys", headers={"X-TC-Region": CANARY, "X-TC-Language": CANARY})
    await caller.call("ListKeys", headers={"X-TC-Token": CANARY})
    await get_tc3(caller, "Encrypt", f"KeyId={CANARY}&Plaintext={canary64}")
    for pairs in (
        v1_pairs(caller, "Encrypt", KeyId=CANARY, Plaintext=canary64),
        v1_pairs(caller, CANARY),
        v1_pairs(caller, "ListKeys", SecretId=CANARY, Token=CANARY, Nonce=CANARY),
    ):
        await call_v1(caller, pairs)
    written = b"".join([(await asked(caller, "GET", name))[1] for name in ("requests", "stats")])
    for secret in (CANARY, canary64, sealed["CiphertextBlob"], caller.emulator.secret_key):
        assert secret.encode() not in written
        assert orjson.dumps(secret) not in written
    assert len(await requests(caller)) == 12


class Rules:
    """The least that faults can be: what was added, in order."""

    def __init__(self) -> None:
        self.rules: list[Any] = []

    def as_json(self) -> dict[str, Any]:
        return {"faults": self.rules}

    def add_json(self, rules: Any) -> None:
        if not isinstance(rules, dict):
            raise ConfigError("that is no rule", hint="send a rule")
        self.rules.append(rules)

    def clear(self) -> None:
        self.rules = []


@pytest.fixture
async def guarded(caller: Caller) -> AsyncIterator[str]:
    """The URL of a control that asks for a token, with faults and a reset."""
    gateway = caller.emulator._gateway
    assert isinstance(gateway, Gateway)

    async def reset() -> None:
        rules.rules.append("was reset")

    rules = Rules()
    control = Control(gateway, token="the-token", reset=reset, faults=rules)

    async def answer(request: web.BaseRequest) -> web.Response:
        return await control.answer(request, request.path)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}/_emulator/"
    await runner.cleanup()


BEARER = {"Authorization": "Bearer the-token"}


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer the-toke", "Bearer the-token ", "bearer the-token"]
    + ["Basic the-token", "the-token", "Bearer é"],
)
async def test_the_token_is_asked_for(guarded: str, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with aiohttp.ClientSession() as session:
        for method, name in (("GET", "stats"), ("POST", "reset"), ("DELETE", "faults")):
            async with session.request(method, guarded + name, headers=headers) as answer:
                accepted = authorization == "Bearer the-token "  # HTTP trims what is around it.
                assert answer.status == (200 if accepted else 401)


async def test_with_the_token_any_host_will_do(guarded: str) -> None:
    headers = {**BEARER, "Host": "kms.test"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(guarded + "stats", headers=headers) as answer,
    ):
        assert answer.status == 200


async def test_faults_are_shown_added_and_cleared(guarded: str) -> None:
    async with aiohttp.ClientSession(headers=BEARER) as session:

        async def sent(method: str, body: bytes = b"") -> tuple[int, Any]:
            async with session.request(method, guarded + "faults", data=body) as answer:
                return answer.status, orjson.loads(await answer.read())

        rule = {"action": "Encrypt", "code": "InternalError"}
        assert await sent("GET") == (200, {"faults": []})
        assert await sent("POST", orjson.dumps(rule)) == (200, {"faults": [rule]})
        assert await sent("POST", b"[]") == (
            400,
            {"error": "that is no rule", "hint": "send a rule"},
        )
        status, problem = await sent("POST", b"{")
        assert (status, problem["error"]) == (400, "the body is no JSON")
        assert await sent("DELETE") == (200, {"faults": []})
        assert (await sent("PUT"))[0] == 405


async def test_a_reset_forgets_what_was_counted(caller: Caller, guarded: str) -> None:
    await caller.call("ListKeys")
    async with aiohttp.ClientSession(headers=BEARER) as session:
        async with session.post(guarded + "reset") as answer:
            assert (answer.status, await answer.json()) == (200, {})
        async with session.get(guarded + "faults") as answer:
            assert await answer.json() == {"faults": ["was reset"]}
    assert await requests(caller) == []
    assert (await caller.stats("ListKeys"))["calls"] == 0
