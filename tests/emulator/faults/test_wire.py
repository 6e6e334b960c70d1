"""What faults do on the wire, byte for byte, and what the emulator says of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from batchkms.emulator import Emulator, listener
from tests.emulator.calling import Caller, Clock, b64, calling


@asynccontextmanager
async def faulty(tmp_path: Path, *rules: dict[str, Any], **options: Any) -> AsyncIterator[Caller]:
    clock = Clock()
    emulator = Emulator(
        data_dir=tmp_path,
        clock=clock,
        ticks=clock,
        faults=rules,
        **{"rate_limit": None, **options},
    )
    async with emulator, calling(emulator, clock) as caller:
        yield caller


def encrypt_request(caller: Caller) -> bytes:
    """A signed Encrypt, byte for byte."""
    named = {"KeyId": caller.emulator.demo_key_id, "Plaintext": b64(b"secret")}
    body = orjson.dumps(named)
    lines = "".join(f"{k}: {v}\r\n" for k, v in caller.headers("Encrypt", body).items())
    return f"POST / HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def exchange(caller: Caller) -> tuple[bytes, str]:
    """All that comes back for an Encrypt until the connection ends, and how it ends."""
    host, _, port = caller.host.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(encrypt_request(caller))
    received, end = b"", "closed"
    try:
        while part := await asyncio.wait_for(reader.read(65_536), 5):
            received += part
    except ConnectionResetError:
        end = "reset"
    writer.close()
    return received, end


def body_of(received: bytes) -> tuple[int, bytes]:
    """The Content-Length that was promised and the body that came."""
    head, _, body = received.partition(b"\r\n\r\n")
    (length,) = [int(x.split(b":")[1]) for x in head.split(b"\r\n") if b"Content-Length" in x]
    return length, body


@pytest.mark.parametrize(
    ("effect", "end", "share"),
    [
        ("reset-before", "reset", None),
        ("refuse", "reset", None),
        ("reset-in", "reset", 0.5),
        ("reset-after", "reset", 1.0),
        ("cut", "closed", 0.5),
    ],
)
async def test_how_much_arrives_and_how_it_ends(
    tmp_path: Path, effect: str, end: str, share: float | None
) -> None:
    async with faulty(tmp_path, {"effect": effect}) as caller:
        received, ended = await exchange(caller)
        assert ended == end
        if share is None:
            assert received == b""
        else:
            length, body = body_of(received)
            assert len(body) == int(length * share)
        figures = caller.emulator.stats.as_json()["actions"]["Encrypt"]
        assert figures["errors"] == {f"Fault.{effect}": 1}


async def test_a_call_that_hangs_ends_with_the_emulator_and_does_not_hold_it_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long would the end wait for a call that is not let go, which no busy machine makes up for.
    monkeypatch.setattr(listener, "_CLOSE_TIMEOUT_S", 40.0)
    async with faulty(tmp_path, {"effect": "hang"}) as caller:
        waiting = asyncio.create_task(exchange(caller))
        while not caller.emulator.faults.rules()[0]["hits"]:  # noqa: ASYNC110 - it tells no event
            await asyncio.sleep(0.01)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 20
    assert await waiting == (b"", "reset")


async def test_nothing_listens_for_a_time_and_then_it_is_the_same_port(tmp_path: Path) -> None:
    rule = {"effect": "refuse", "for": "300ms", "times": 1}
    async with faulty(tmp_path, rule) as caller:
        await exchange(caller)
        with pytest.raises(aiohttp.ClientConnectorError):
            await caller.code("ListKeys")
        give_up_s = time.monotonic() + 5
        while time.monotonic() < give_up_s:
            try:
                assert await caller.code("ListKeys") == "ok"
                break
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.05)
        else:
            raise AssertionError("it did not come back")


async def test_it_may_end_while_nothing_listens(tmp_path: Path) -> None:
    async with faulty(tmp_path, {"effect": "refuse", "for": "1h"}) as caller:
        await exchange(caller)
    async with faulty(tmp_path) as caller:
        assert await caller.code("ListKeys") == "ok"


async def test_an_http_status_comes_with_a_page_and_no_envelope(tmp_path: Path) -> None:
    async with faulty(tmp_path, {"http": 503, "calls": 1}) as caller:
        body = b"{}"
        async with caller.session.post(
            caller.emulator.endpoint + "/", data=body, headers=caller.headers("ListKeys", body)
        ) as answer:
            assert answer.status == 503
            assert answer.content_type == "text/html"
            assert b"Response" not in await answer.read()
        assert await caller.code("ListKeys") == "ok"


async def test_a_code_has_its_usual_text_or_the_given_one(tmp_path: Path) -> None:
    rules: list[dict[str, Any]] = [
        {"code": "InternalError", "calls": 1},
        {"code": "Made.Up", "calls": 2, "message": "because"},
    ]
    async with faulty(tmp_path, *rules) as caller:
        assert (await caller.error("ListKeys"))[0] == "InternalError"
        assert await caller.error("ListKeys") == ("Made.Up", "because")


async def test_an_echo_quotes_what_was_sent_raw_and_decoded(tmp_path: Path) -> None:
    async with faulty(tmp_path, {"effect": "echo"}) as caller:
        plaintext = b64(b"canary-plaintext")
        code, message = await caller.error("Encrypt", {"KeyId": "x", "Plaintext": plaintext})
    assert code == "InvalidParameterValue"
    assert plaintext in message
    assert "canary-plaintext" in message


async def test_a_decrypt_may_be_undecodable_too(tmp_path: Path) -> None:
    async with faulty(tmp_path, {"action": "Decrypt", "effect": "undecodable"}) as caller:
        blob = await caller.encrypt(b"secret")
        answer = await caller.call("Decrypt", {"CiphertextBlob": blob})
    assert "%" in answer["Plaintext"]


async def test_a_rule_for_a_key_hits_calls_that_name_it_by_a_blob(tmp_path: Path) -> None:
    async with faulty(tmp_path) as caller:
        blob = await caller.encrypt(b"secret")
        other = await caller.call("CreateKey", {"Alias": "other"})
        caller.emulator.faults.add({"key": caller.emulator.demo_key_id, "code": "InternalError"})
        named = {"KeyId": other["KeyId"], "Plaintext": b64(b"secret")}
        assert await caller.code("Encrypt", named) == "ok"
        assert await caller.code("Decrypt", {"CiphertextBlob": blob}) == "InternalError"
        assert await caller.code("ListKeys") == "ok"


async def test_a_fault_comes_after_the_signature_and_before_the_quota(tmp_path: Path) -> None:
    async with faulty(tmp_path, {"code": "InternalError", "times": 2}, rate_limit=1) as caller:
        named = {"KeyId": caller.emulator.demo_key_id, "Plaintext": b64(b"secret")}
        wrong = await caller.code("Encrypt", named, secret_key="another")
        assert wrong == "AuthFailure.SignatureFailure"
        codes = [await caller.code("Encrypt", named) for _ in range(4)]
    assert codes == ["InternalError", "InternalError", "ok", "RequestLimitExceeded"]


async def test_a_quota_changes_in_the_middle_for_its_group_and_for_a_time(tmp_path: Path) -> None:
    rule = {"action": "Encrypt", "calls": 3, "quota": 1, "for": "5s"}
    async with faulty(tmp_path, rule, rate_limit=10) as caller:
        named = {"KeyId": caller.emulator.demo_key_id, "Plaintext": b64(b"secret")}
        codes = [await caller.code("Encrypt", named) for _ in range(3)]
        assert codes == ["ok", "ok", "RequestLimitExceeded"]
        assert await caller.code("ListKeys") == "ok"
        caller.clock.now_s += 5
        codes = [await caller.code("Encrypt", named) for _ in range(11)]
        assert codes == ["ok"] * 10 + ["RequestLimitExceeded"]


async def test_rules_are_posted_shown_and_deleted_over_http(tmp_path: Path) -> None:
    async with faulty(tmp_path) as caller:
        url = f"{caller.emulator.endpoint}/_emulator/faults"
        async with caller.session.post(url, json={"code": "InternalError"}) as answer:
            assert answer.status == 200
        assert await caller.code("ListKeys") == "InternalError"
        async with caller.session.get(url) as answer:
            shown = {"code": "InternalError", "seen": 1, "hits": 1}
            assert await answer.json() == {"faults": [shown]}
        async with caller.session.post(url, json={"cod": "InternalError"}) as answer:
            assert answer.status == 400
            assert (await answer.json())["hint"] == "the nearest is 'code'"
        async with caller.session.delete(url) as answer:
            assert await answer.json() == {"faults": []}
        assert await caller.code("ListKeys") == "ok"
