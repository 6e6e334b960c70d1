"""What holds for every plaintext, context and blob, over the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from batchkms.emulator import Emulator
from tests.emulator.calling import Caller, Clock, b64, calling

INVALID_PLAINTEXT = "InvalidParameterValue.InvalidPlaintext"
INVALID_CIPHERTEXT = "InvalidParameterValue.InvalidCiphertext"

QUICK = settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

CONTEXTS = st.one_of(
    st.just(""),
    st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=5).map(
        lambda pairs: orjson.dumps(pairs).decode()
    ),
    st.text(max_size=1030),
)

Run = Callable[[Callable[[Caller], Awaitable[None]]], None]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs a coroutine with a caller: one emulator and one event loop for all examples."""
    clock = Clock()
    data_dir = tmp_path_factory.mktemp("properties")
    emulator = Emulator(data_dir=data_dir, rate_limit=None, clock=clock)
    with asyncio.Runner() as runner:

        async def enter() -> tuple[Any, Caller]:
            await emulator.__aenter__()
            context = calling(emulator, clock)
            return context, await context.__aenter__()

        async def leave(context: Any) -> None:
            await context.__aexit__(None, None, None)
            await emulator.__aexit__(None, None, None)

        context, caller = runner.run(enter())
        yield lambda body: runner.run(_awaited(body(caller)))
        runner.run(leave(context))


async def _awaited(body: Awaitable[None]) -> None:
    await body


def documented(plaintext: bytes, context: str) -> str:
    """The code that an Encrypt of these must be answered with."""
    if not 1 <= len(plaintext) <= 4096:
        return INVALID_PLAINTEXT
    if len(context) > 1024:
        return "InvalidParameter"
    if context:
        try:
            pairs = orjson.loads(context)
        except orjson.JSONDecodeError:
            return "InvalidParameter"
        if not isinstance(pairs, dict) or not all(isinstance(v, str) for v in pairs.values()):
            return "InvalidParameter"
    return "ok"


@QUICK
@given(st.integers(0, 4097), st.binary(min_size=1, max_size=40), CONTEXTS)
@example(0, b"a", "")
@example(1, b"\0", "{}")
@example(4096, b"\xff", '{"a":"b"}')
@example(4097, b"a", "")
def test_encrypt_then_decrypt_is_the_identity_or_the_documented_error(
    run: Run, size: int, pattern: bytes, context: str
) -> None:
    plaintext = (pattern * (size // len(pattern) + 1))[:size]

    async def check(caller: Caller) -> None:
        key_id = caller.emulator.demo_key_id
        given_context = {"EncryptionContext": context}
        sealed = await caller.call(
            "Encrypt", {"KeyId": key_id, "Plaintext": b64(plaintext), **given_context}
        )
        expected = documented(plaintext, context)
        if expected != "ok":
            assert sealed["Error"]["Code"] == expected
            return
        blob = {"CiphertextBlob": sealed["CiphertextBlob"]}
        opened = await caller.call("Decrypt", {**blob, **given_context})
        assert (opened["KeyId"], opened["Plaintext"]) == (key_id, b64(plaintext))
        moved = await caller.call("ReEncrypt", {**blob, "SourceEncryptionContext": context})
        assert moved["ReEncrypted"] is bool(context)
        opened = await caller.call("Decrypt", {"CiphertextBlob": moved["CiphertextBlob"]})
        assert opened["Plaintext"] == b64(plaintext)

    run(check)


@QUICK
@given(st.data(), st.binary(min_size=1, max_size=200))
def test_no_bit_of_a_blob_can_be_flipped(run: Run, data: st.DataObject, plaintext: bytes) -> None:
    async def check(caller: Caller) -> None:
        context = '{"app":"billing"}'
        blob = (await caller.encrypt(plaintext, EncryptionContext=context)).encode()
        bit = data.draw(st.integers(0, 8 * len(blob) - 1))
        flipped = bytearray(blob)
        flipped[bit // 8] ^= 1 << bit % 8
        # A byte above 127 is sent as the character of that number.
        parameters = {"CiphertextBlob": flipped.decode("latin-1"), "EncryptionContext": context}
        assert await caller.code("Decrypt", parameters) == INVALID_CIPHERTEXT
        del parameters["EncryptionContext"]
        parameters["SourceEncryptionContext"] = context
        assert await caller.code("ReEncrypt", parameters) == INVALID_CIPHERTEXT

    run(check)


@QUICK
@given(st.data(), st.dictionaries(st.text(max_size=8), st.text(max_size=8), min_size=1))
def test_no_character_of_a_context_can_be_another(
    run: Run, data: st.DataObject, pairs: dict[str, str]
) -> None:
    context = orjson.dumps(pairs).decode()
    place = data.draw(st.integers(0, len(context) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda c: c != context[place]))
    changed = context[:place] + other + context[place + 1 :]

    async def check(caller: Caller) -> None:
        blob = await caller.encrypt(b"secret", EncryptionContext=context)
        for wrong in (changed, context[:place] + context[place + 1 :], context + " ", ""):
            parameters = {"CiphertextBlob": blob, "EncryptionContext": wrong}
            expected = documented(b"secret", wrong)
            code = await caller.code("Decrypt", parameters)
            assert code == (INVALID_CIPHERTEXT if expected == "ok" else expected)

    run(check)
