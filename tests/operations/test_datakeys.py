"""Data keys: for how many rows and bytes one is used, and how often KMS is asked for it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms.errors import KmsError
from batchkms.operations import datakeys
from batchkms.operations.datakeys import SealingKey, SealingKeys, opened_key
from batchkms.operations.sealing import DATA_KEY_CONTEXT
from tests.operations.scripted_kms import ScriptedKms
from tests.operations.test_encrypt import ONCE
from tests.scripted import OK
from tests.virtual_time import run_virtual


async def taken(keys: SealingKeys, size_bytes: int, key_id: str = "k") -> SealingKey:
    """The key of the next row."""
    return keys.ready(key_id, size_bytes) or await keys.fresh(key_id, size_bytes, ONCE)


@given(
    sizes=st.lists(st.integers(0, 50), max_size=60), rows=st.integers(1, 7), most=st.integers(1, 99)
)
def test_a_key_takes_no_more_rows_and_bytes_than_it_may(
    sizes: list[int], rows: int, most: int
) -> None:
    async def main() -> None:
        keys = SealingKeys(ScriptedKms(), rows=rows, size_bytes=most)
        used: dict[str, list[int]] = {}
        for size in sizes:
            used.setdefault((await taken(keys, size)).blob, []).append(size)
        for of_one in used.values():
            assert len(of_one) <= rows
            # A row that is longer than all that a key may encrypt has one of its own.
            assert sum(of_one) <= most or sum(of_one[1:]) == 0

    run_virtual(main())


def test_a_fresh_key_comes_exactly_after_so_many_rows() -> None:
    async def main() -> None:
        keys = SealingKeys(ScriptedKms(), rows=3, size_bytes=10**9)
        blobs = [(await taken(keys, 10)).blob for _ in range(10)]
        assert [blobs.count(blob) for blob in dict.fromkeys(blobs)] == [3, 3, 3, 1]

    run_virtual(main())


def test_a_fresh_key_comes_exactly_after_so_many_bytes() -> None:
    async def main() -> None:
        keys = SealingKeys(ScriptedKms(), rows=10**9, size_bytes=100)
        blobs = [(await taken(keys, size)).blob for size in (50, 50, 1, 99, 1, 500, 0, 1)]
        assert [blobs.count(blob) for blob in dict.fromkeys(blobs)] == [2, 2, 1, 2, 1]

    run_virtual(main())


def test_whoever_waits_uses_the_key_that_is_made() -> None:
    async def main() -> None:
        kms = ScriptedKms()
        keys = SealingKeys(kms, rows=10, size_bytes=10**9)
        used = await asyncio.gather(*(keys.fresh("k", 1, ONCE) for _ in range(25)))
        blobs = [key.blob for key in used]
        assert [blobs.count(blob) for blob in dict.fromkeys(blobs)] == [10, 10, 5]
        assert kms.data_keys() == 3
        assert kms.most_under_way == {"GenerateDataKey": 1}

    run_virtual(main())


def test_each_cmk_has_data_keys_of_its_own() -> None:
    async def main() -> None:
        kms = ScriptedKms()
        keys = SealingKeys(kms, rows=10, size_bytes=10**9)
        used = [await taken(keys, 1, key_id) for key_id in "abab"]
        assert [key.key_id for key in used] == ["a", "b", "a", "b"]
        assert len({key.blob for key in used}) == kms.data_keys() == 2

    run_virtual(main())


def test_only_so_many_keys_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datakeys, "MOST_KEYS", 2)

    async def main() -> None:
        kms = ScriptedKms()
        keys = SealingKeys(kms, rows=10, size_bytes=10**9)
        # The one that was not used for longest goes: b, when c comes.
        for key_id in "abaca":
            await taken(keys, 1, key_id)
        assert kms.data_keys() == 3
        await taken(keys, 1, "b")
        assert kms.data_keys() == 4

    run_virtual(main())


def test_a_key_that_was_refused_is_asked_for_again() -> None:
    async def main() -> None:
        kms = ScriptedKms(lambda about, number: "InternalError" if number == 0 else OK)
        keys = SealingKeys(kms, rows=10, size_bytes=10**9)
        with pytest.raises(KmsError):
            await keys.fresh("k", 1, ONCE)
        assert (await keys.fresh("k", 1, ONCE)).rows_left == 9

    run_virtual(main())


@pytest.mark.parametrize(
    ("size", "context", "code"),
    [
        (16, DATA_KEY_CONTEXT, "InvalidEnvelope"),
        (0, DATA_KEY_CONTEXT, "InvalidEnvelope"),
        (33, DATA_KEY_CONTEXT, "InvalidEnvelope"),
        (32, None, "InvalidParameterValue.InvalidCiphertext"),
        (32, '{"a":"b"}', "InvalidParameterValue.InvalidCiphertext"),
    ],
)
def test_what_is_no_data_key_is_not_used_as_one(size: int, context: str | None, code: str) -> None:
    async def main() -> None:
        kms = ScriptedKms()
        blob = kms.blob(bytes(size), "k", context)
        with pytest.raises(KmsError) as caught:
            await opened_key(kms, blob, ONCE)
        assert caught.value.code == code

    run_virtual(main())


def test_keys_show_nothing_of_themselves() -> None:
    secret = b"a data key that nobody may read!"
    key = SealingKey(secret, "blob", "k", rows=1, size=1)
    assert secret.decode() not in f"{key!r} {key.cipher!r}"
