"""How many calls a job makes, and how much it writes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from batchkms.checks.estimate import blob_chars
from batchkms.checks.inventory import Inventory, take_inventory
from batchkms.checks.plan import Plan
from batchkms.quota import Group
from batchkms.records import Record
from tests.checks.test_inventory import Given

CRYPT, DATA_KEY = Group.CRYPT, Group.DATA_KEY


async def inventory(*records: Record) -> Inventory:
    return await take_inventory(Given(list(records)))


def plain(seq: int, size: int) -> Record:
    return Record(seq=seq, id=f"r{seq}", plaintext=b"x" * size)


def sealed(seq: int, data_key: str | None) -> Record:
    return Record(seq=seq, id=f"r{seq}", ciphertext="A" * 200, data_key=data_key)


@pytest.mark.parametrize(
    ("plan", "calls"),
    [
        (Plan(), {CRYPT: 5}),
        (Plan(mode="envelope", data_key_rows=2), {CRYPT: 0, DATA_KEY: 3}),
        (Plan(mode="envelope", data_key_rows=5), {CRYPT: 0, DATA_KEY: 1}),
        (Plan(oversize="envelope", data_key_rows=2), {CRYPT: 3, DATA_KEY: 1}),
        (Plan(oversize="envelope", data_key_rows=1), {CRYPT: 3, DATA_KEY: 2}),
    ],
)
async def test_calls_to_encrypt(plan: Plan, calls: dict[Group, int]) -> None:
    sizes = [1, 4_096, 5, 4_097, 1_000_000]
    found = await inventory(*(plain(seq, size) for seq, size in enumerate(sizes, 1)))
    assert plan.calls(found) == calls


@pytest.mark.parametrize(
    ("plan", "calls"),
    [
        (Plan(command="decrypt"), {CRYPT: 2 + 2}),
        (Plan(command="reencrypt"), {Group.REENCRYPT: 2 + 2}),
        (Plan(command="reencrypt", transfer=True), {CRYPT: 2 + 2, Group.SOURCE: 2 + 2}),
    ],
)
async def test_calls_for_ciphertexts_are_one_for_each_data_key(
    plan: Plan, calls: dict[Group, int]
) -> None:
    rows = [sealed(1, None), sealed(2, "a"), sealed(3, "b"), sealed(4, "a"), sealed(5, None)]
    found = await inventory(*rows)
    assert (found.envelopes, found.data_keys) == (3, 2)
    assert plan.calls(found) == calls


async def test_no_rows_need_no_calls() -> None:
    assert not any(Plan(mode="envelope").calls(await inventory()).values())


def test_what_is_written_for_a_row() -> None:
    assert Plan().written_chars(100) == blob_chars(100)
    envelope = 4 * ((1 + 12 + 100 + 16 + 2) // 3) + blob_chars(32)
    assert Plan(mode="envelope").written_chars(100) == envelope
    assert Plan(oversize="envelope").written_chars(100) == blob_chars(100)
    assert Plan(oversize="envelope").written_chars(5_000) > 6_000
    assert Plan(command="reencrypt").written_chars(210) == 210
    assert Plan(command="decrypt").written_chars(200) == 150


async def test_long_ones_are_counted_by_the_kib_and_their_bytes_exactly() -> None:
    found = await inventory(plain(1, 4_097), plain(2, 5_120), plain(3, 4_096))
    assert found.sizes == {4_096: 1, 5_120: 2}
    assert found.content_bytes == 4_097 + 5_120 + 4_096
    assert found.histogram()[-1] == (None, 2)


async def test_a_file_like_the_input_has_ciphertexts_for_plaintexts() -> None:
    found = replace(await inventory(plain(1, 5), plain(2, 40)), read_bytes=500)
    assert Plan().in_place_bytes(found) == 0
    assert Plan(in_place=True).in_place_bytes(found) == 500 - 45 + blob_chars(5) + blob_chars(40)
    compressed = replace(found, read_bytes=20)
    assert Plan(in_place=True).in_place_bytes(compressed) == 4 + blob_chars(5) + blob_chars(40)
