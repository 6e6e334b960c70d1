"""`bulk` over real sockets: records in, Results out, as a user of the library sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

import batchkms


@pytest.fixture
async def emulator(tmp_path: Path) -> AsyncIterator[batchkms.Emulator]:
    async with batchkms.Emulator(data_dir=tmp_path, rate_limit=None) as running:
        yield running


@pytest.fixture
async def kms(emulator: batchkms.Emulator) -> AsyncIterator[batchkms.KmsClient]:
    credentials = batchkms.Credentials(emulator.secret_id, emulator.secret_key)
    async with batchkms.KmsClient(
        region=emulator.region,
        endpoint=emulator.endpoint,
        credentials=batchkms.StaticCredentials(credentials),
    ) as client:
        yield client


def _records(count: int) -> Iterator[batchkms.Record]:
    for seq in range(1, count + 1):
        yield batchkms.Record(seq=seq, id=f"row-{seq}", plaintext=b"%d" % seq)


async def _later(count: int) -> AsyncIterator[batchkms.Record]:
    for record in _records(count):
        await asyncio.sleep(0)
        yield record


@pytest.mark.parametrize("records", [_records(150), _later(150), list(_records(150))])
async def test_every_record_gives_one_result_that_decrypts(
    kms: batchkms.KmsClient, emulator: batchkms.Emulator, records: object
) -> None:
    encrypt = batchkms.Encrypt(kms, key_id=emulator.demo_key_id)
    seen: dict[int, bytes] = {}
    async for result in batchkms.bulk(encrypt, records, rate=None):  # type: ignore[arg-type]  # each kind is given in turn
        assert result.seq not in seen
        assert result.ciphertext is not None
        seen[result.seq] = (await kms.decrypt(result.ciphertext)).plaintext
    assert seen == {seq: b"%d" % seq for seq in range(1, 151)}


async def test_ordered_results_come_as_the_records_did(
    kms: batchkms.KmsClient, emulator: batchkms.Emulator
) -> None:
    encrypt = batchkms.Encrypt(kms, key_id=emulator.demo_key_id)
    results = batchkms.bulk(encrypt, _records(100), rate=None, ordered=True)
    assert [result.seq async for result in results] == list(range(1, 101))


async def test_what_the_records_raise_comes_after_the_results_before(
    kms: batchkms.KmsClient, emulator: batchkms.Emulator
) -> None:
    async def broken() -> AsyncIterator[batchkms.Record]:
        async for record in _later(3):
            yield record
        raise LookupError("the fourth one is gone")

    encrypt = batchkms.Encrypt(kms, key_id=emulator.demo_key_id)
    seen = []
    with pytest.raises(LookupError, match="the fourth one is gone"):
        async for result in batchkms.bulk(encrypt, broken(), rate=None):
            seen.append(result.seq)  # noqa: PERF401 - kept when the loop raises
    assert sorted(seen) == [1, 2, 3]


async def test_leaving_early_leaves_no_task_behind(
    kms: batchkms.KmsClient, emulator: batchkms.Emulator
) -> None:
    before = asyncio.all_tasks()
    encrypt = batchkms.Encrypt(kms, key_id=emulator.demo_key_id)
    async with aclosing(batchkms.bulk(encrypt, _records(10_000), rate=None)) as results:
        async for _ in results:
            break
    # Connections of the emulator's side may still be winding up a request that was cut off.
    await asyncio.sleep(0)
    assert {task for task in asyncio.all_tasks() - before if "batchkms" in task.get_name()} == set()


async def test_an_unusable_key_stops_the_run_with_a_reason(kms: batchkms.KmsClient) -> None:
    encrypt = batchkms.Encrypt(kms, key_id="00000000-0000-0000-0000-000000000000")
    with pytest.raises(batchkms.RunStopped, match="CmkNotFound"):
        _ = [result async for result in batchkms.bulk(encrypt, _records(3), rate=None)]
