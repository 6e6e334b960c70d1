"""An answer too many must never give a row the ciphertext of another one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import orjson
import pytest

from batchkms.errors import KmsError
from batchkms.kms.client import KmsClient
from batchkms.kms.credentials import Credentials, StaticCredentials
from batchkms.kms.endpoint import parse_endpoint
from batchkms.kms.requestids import REMEMBERED, STAND_IN_AFTER, RequestIds
from tests.kms.servers import Peer, Seen, http, listening, read_request
from tests.kms.transports import Kind

KEY_ID = "k"

After = Callable[[asyncio.StreamWriter, bytes, int], None]
"""What a server does after its answer: gets the writer, the answer and its number."""


@asynccontextmanager
async def client_of(kind: Kind, peer: Peer) -> AsyncIterator[KmsClient]:
    async with (
        listening(peer) as port,
        KmsClient(
            region="r",
            endpoint=f"http://127.0.0.1:{port}",
            transport=kind(parse_endpoint(f"http://127.0.0.1:{port}")),
            credentials=StaticCredentials(Credentials("EXAMPLE", "example")),
        ) as client,
    ):
        yield client


def echoing(after: After) -> Peer:
    """Answers with the plaintext's length as ciphertext, and does something more."""
    number = 0

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal number
        seen = Seen()
        while True:
            await read_request(reader, seen)
            number += 1
            blob = f"blob-of-{len(orjson.loads(seen.bodies[-1])['Plaintext'])}"
            fields = {"CiphertextBlob": blob, "KeyId": KEY_ID, "RequestId": f"r-{number}"}
            answer = http(orjson.dumps({"Response": fields}))
            writer.write(answer)
            after(writer, answer, number)
            await writer.drain()

    return peer


async def wrong_rows(kind: Kind, after: After, rows: int = 60) -> tuple[int, int]:
    """How many of the rows got another row's answer, and how many an error."""
    wrong = errors = 0
    async with client_of(kind, echoing(after)) as client:
        for length in range(1, 3 * rows, 3):
            try:
                answer = await client.encrypt(KEY_ID, b"x" * length)
            except KmsError as error:
                assert error.verdict.retryable
                errors += 1
            else:
                wrong += answer.ciphertext_blob != f"blob-of-{4 * -(-length // 3)}"
            await asyncio.sleep(0.002)
    return wrong, errors


async def test_a_server_that_repeats_every_answer(kind: Kind) -> None:
    assert (await wrong_rows(kind, lambda writer, answer, number: writer.write(answer)))[0] == 0


async def test_a_server_that_repeats_an_answer_later(kind: Kind) -> None:
    def later(writer: asyncio.StreamWriter, answer: bytes, number: int) -> None:
        asyncio.get_running_loop().call_later(0.003, writer.write, answer)

    assert (await wrong_rows(kind, later))[0] == 0


async def test_a_server_in_step_is_left_alone(kind: Kind) -> None:
    assert await wrong_rows(kind, lambda writer, answer, number: None) == (0, 0)


async def test_bytes_after_an_answer_close_the_connection(kind: Kind) -> None:
    def garbage(writer: asyncio.StreamWriter, answer: bytes, number: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")

    assert (await wrong_rows(kind, garbage))[0] == 0


def test_a_request_id_that_comes_again_is_told() -> None:
    ids = RequestIds()
    assert [ids.is_new(name) for name in ("a", "b", "a", "c", "b")] == [
        True,
        True,
        False,
        True,
        False,
    ]


def test_the_very_first_answer_may_be_one_that_comes_twice() -> None:
    ids = RequestIds()
    assert [ids.is_new(name) for name in ("a", "a", "b", "b", "a")] == [
        *(True, False, True),
        *(False, False),
    ]


def test_only_the_last_ones_are_remembered() -> None:
    ids = RequestIds()
    assert all(ids.is_new(f"r-{number}") for number in range(REMEMBERED + 2))
    assert ids.is_new("r-0")
    assert not ids.is_new(f"r-{REMEMBERED}")


def test_a_stand_in_with_one_id_for_all_is_taken_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ids = RequestIds()
    with caplog.at_level(logging.WARNING):
        taken = [ids.is_new("always the same") for _ in range(STAND_IN_AFTER + 4)]
        assert taken == [True, *[False] * STAND_IN_AFTER, True, True, True]
    assert len(caplog.records) == 1
    assert "it is no KMS" in caplog.text


def test_answers_that_came_to_two_processes_are_told() -> None:
    ids = RequestIds()
    assert ids.repeated(["a", "b"]) is None
    assert ids.repeated(["c", "b"]) == "b"


def test_an_endpoint_with_one_request_id_was_told_of_elsewhere() -> None:
    ids = RequestIds()
    assert ids.repeated(["same"] * 10) is None
    assert ids.repeated(["same", "other", "same"]) == "same"
