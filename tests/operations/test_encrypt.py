"""Encrypt as an operation: which key, which context, and a Result as the contract wants it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import orjson
import pytest

from batchkms.errors import KmsError
from batchkms.operations.base import failed
from batchkms.operations.encrypt import Encrypt
from batchkms.quota import Group
from batchkms.records import ErrorClass, Record, Result
from tests.kms.test_client import BLOB, Replay, client_on, response

T = TypeVar("T")


class Once:
    """Makes every call at once and never again. Implements `operations.base.Calls`."""

    async def make(
        self, group: Group, call: Callable[[], Awaitable[T]], *, key_id: str | None = None
    ) -> T:
        return await call()


ONCE = Once()


def record(*, key_id: str | None = None, context: str | None = None) -> Record:
    return Record(seq=7, id="a", plaintext=b"x", key_id=key_id, encryption_context=context)


def answer_for(key_id: str) -> Replay:
    return Replay(response(CiphertextBlob=BLOB, KeyId=key_id))


@pytest.mark.parametrize(
    ("own", "default", "used"), [("k1", "k2", "k1"), (None, "k2", "k2"), ("k1", None, "k1")]
)
async def test_a_records_own_key_beats_the_default(
    own: str | None, default: str | None, used: str
) -> None:
    transport = answer_for(used)
    operation = Encrypt(client_on(transport), key_id=default)
    row = record(key_id=own)
    assert operation.key_id(row) == used
    result = await operation.do(row, ONCE)
    assert result.key_id == used
    assert orjson.loads(transport.sent[0][1])["KeyId"] == used


def test_a_record_without_any_key_is_a_defect() -> None:
    with pytest.raises(ValueError, match="record 7 names no CMK"):
        Encrypt(client_on(answer_for("k"))).key_id(record())


@pytest.mark.parametrize("context", [None, '{"a": "b"}'])
async def test_the_result_of_a_record(context: str | None) -> None:
    transport = answer_for("k")
    result = await Encrypt(client_on(transport), key_id="k").do(record(context=context), ONCE)
    assert result == Result(
        seq=7,
        id="a",
        status="ok",
        key_id="k",
        ciphertext=BLOB,
        encryption_context=context,
        request_id="r-1",
        attempts=1,
    )
    assert orjson.loads(transport.sent[0][1]).get("EncryptionContext") == context


async def test_an_error_is_raised_and_no_result() -> None:
    transport = Replay(response(Error={"Code": "ResourceUnavailable.CmkDisabled"}))
    with pytest.raises(KmsError) as caught:
        await Encrypt(client_on(transport), key_id="k").do(record(), ONCE)
    assert caught.value.code == "ResourceUnavailable.CmkDisabled"


def test_the_result_of_a_record_that_is_given_up() -> None:
    error = KmsError("InternalError", "m", request_id="r")
    result = failed(record(context="{}"), "k", error, attempts=3)
    assert (result.seq, result.id, result.status, result.attempts) == (7, "a", "failed", 3)
    assert (result.key_id, result.encryption_context, result.ciphertext) == ("k", "{}", None)
    assert (result.error_class, result.code) == (ErrorClass.INTERNAL, "InternalError")
    assert (result.message, result.request_id) == ("m", "r")
