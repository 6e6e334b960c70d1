"""Calls, time, money and bytes, against figures worked out by hand and against a real output."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

import batchkms
from batchkms.checks.estimate import (
    Estimate,
    blob_chars,
    free_disk_bytes,
    less_reserve,
    output_bytes,
    pace_of,
    price_of,
    seconds_for,
)
from batchkms.checks.inventory import take_inventory
from batchkms.quota import Group
from batchkms.records import Record
from batchkms.runs.rowsums import RECORD_BYTES
from batchkms.sinks.jsonl import JsonlSink
from tests.checks.test_inventory import Given


@pytest.mark.parametrize(
    ("rate", "reserve", "per_second"),
    [(300, 0.0, 300), (300, 0.3, 210), (1, 0.99, 1), (None, 0.5, None)],
)
def test_the_rate_is_that_of_a_run(rate: int | None, reserve: float, per_second: int) -> None:
    assert less_reserve(rate, reserve) == per_second


def test_time() -> None:
    assert seconds_for(1_000_000, None) is None
    assert seconds_for(0, 300) == 0
    hour = seconds_for(300 * 3_600, 300)
    assert hour is not None
    # A run holds between 99% of its rate and all of it.
    assert 3_600 <= hour <= 3_600 / 0.99


def test_the_time_is_that_of_the_calls_that_take_longest() -> None:
    calls = {Group.CRYPT: 600, Group.DATA_KEY: 400}
    pace = pace_of(calls, {Group.CRYPT: 300, Group.DATA_KEY: 100})
    assert pace is not None
    assert (pace.seconds, pace.per_second) == (seconds_for(400, 100), 100)
    pace = pace_of(calls, {Group.CRYPT: 100, Group.DATA_KEY: 100})
    assert pace is not None
    assert pace.seconds == seconds_for(600, 100)
    assert pace_of(calls, {Group.CRYPT: None, Group.DATA_KEY: None}) is None


@pytest.mark.parametrize(
    ("calls", "least", "most"),
    [(0, 0, 0), (20_000, 0, 0.36), (20_001, 0.000018, 0.360018), (1_000_000, 17.64, 18.0)],
)
def test_price(calls: int, least: float, most: float) -> None:
    price = price_of(calls)
    assert price.least == pytest.approx(least, abs=1e-9)
    assert price.most == pytest.approx(most)


@pytest.mark.parametrize(
    ("plaintext_bytes", "chars"),
    [(5, 166), (15, 166), (16, 190), (31, 190), (32, 210), (4096, 5630)],
)
def test_the_length_of_a_blob_is_that_of_the_public_samples(
    plaintext_bytes: int, chars: int
) -> None:
    assert blob_chars(plaintext_bytes) == chars


KEPT = {"owner": "team-é" * 20, "tags": msgspec.Raw(b'["a", "b", {"c": 1.50}]')}


@pytest.mark.parametrize("kept", [None, KEPT])
@pytest.mark.parametrize("context", [None, '{"app":"one","env":"prod"}'])
async def test_the_output_takes_what_was_estimated(
    tmp_path: Path, context: str | None, kept: dict[str, Any] | None
) -> None:
    records = [
        Record(
            seq=seq,
            id=f"prod/app/secret-{seq:05}",
            plaintext=b"x" * (1 + seq * 37 % 600),
            encryption_context=context,
            kept=kept,
        )
        for seq in range(1, 301)
    ]
    written = 0
    async with batchkms.Emulator(data_dir=tmp_path, rate_limit=None) as emulator:
        kms = batchkms.KmsClient(
            region=emulator.region,
            endpoint=emulator.endpoint,
            credentials=batchkms.StaticCredentials(
                batchkms.Credentials(emulator.secret_id, emulator.secret_key)
            ),
        )
        async with kms:
            encrypt = batchkms.Encrypt(kms, key_id=emulator.demo_key_id)
            async for result in batchkms.bulk(encrypt, records, rate=None):
                assert result.ok
                written += len(JsonlSink().encode([result])[0]) + RECORD_BYTES
    found = await take_inventory(Given([*records]))
    assert found.sizes == Counter(len(record.plaintext) for record in records)
    estimated = output_bytes(
        found.sizes,
        id_bytes=found.id_bytes,
        context_bytes=found.context_bytes,
        with_context=found.with_context,
        kept_bytes=found.kept_bytes,
    )
    assert estimated == pytest.approx(written, rel=0.02)


def test_rows_that_fail_take_room_as_well() -> None:
    none = output_bytes({}, id_bytes=0)
    assert none == 0
    assert output_bytes({}, id_bytes=0, failing=10, failing_bytes=900) == 900 + 10 * RECORD_BYTES


def test_free_disk(tmp_path: Path) -> None:
    free = free_disk_bytes(str(tmp_path))
    assert free is not None
    assert free > 0
    assert free_disk_bytes(str(tmp_path / "not" / "there")) is None


@pytest.mark.parametrize(("free", "fits"), [(None, True), (100, True), (99, False), (0, False)])
def test_whether_it_fits(free: int | None, fits: bool) -> None:
    estimate = Estimate(
        calls=1,
        per_second=None,
        pace=None,
        price=price_of(1),
        output_bytes=100,
        free_bytes=free,
    )
    assert estimate.fits is fits
