"""Every fault, seen from the batch client: the class it ends in, and that it ends in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from batchkms import Encrypt, ErrorClass, KmsClient, RunStopped, bulk
from batchkms.emulator import Emulator
from batchkms.emulator.faults import EFFECTS
from batchkms.kms.credentials import Credentials, StaticCredentials
from batchkms.kms.endpoint import parse_endpoint
from batchkms.records import Record, Result
from batchkms.retry import RetryPolicy
from tests.kms.transports import Kind

TIMEOUT_S = 0.3
DEADLINE_S = 1.0
SECRET = "a-secret-of-the-row"
POLICY = RetryPolicy(
    max_attempts=2, base_s=0.02, deadline_s=DEADLINE_S, attempt_timeout_s=TIMEOUT_S
)

PATIENT = RetryPolicy(max_attempts=20, base_s=0.02, cap_s=0.05, attempt_timeout_s=TIMEOUT_S)

ENDS: list[tuple[dict[str, Any], ErrorClass, str]] = [
    ({"code": "InternalError"}, ErrorClass.INTERNAL, "InternalError"),
    ({"code": "ServiceUnavailable"}, ErrorClass.INTERNAL, "ServiceUnavailable"),
    ({"code": "RequestLimitExceeded"}, ErrorClass.THROTTLED, "RequestLimitExceeded"),
    (
        {"code": "RequestLimitExceeded.UinLimitExceeded"},
        ErrorClass.THROTTLED,
        "RequestLimitExceeded.UinLimitExceeded",
    ),
    ({"code": "InvalidParameter"}, ErrorClass.INVALID_REQUEST, "InvalidParameter"),
    ({"code": "NoSuchCodeAtAll"}, ErrorClass.UNKNOWN, "NoSuchCodeAtAll"),
    ({"http": 500}, ErrorClass.INTERNAL, "Http500"),
    ({"http": 502}, ErrorClass.INTERNAL, "Http502"),
    ({"http": 503}, ErrorClass.INTERNAL, "Http503"),
    ({"http": 429}, ErrorClass.THROTTLED, "Http429"),
    ({"latency": "1s"}, ErrorClass.NETWORK, "AttemptTimeout"),
    ({"effect": "refuse", "for": "5s"}, ErrorClass.NETWORK, "ConnectionRefused"),
    ({"effect": "reset-before"}, ErrorClass.NETWORK, "ConnectionReset"),
    ({"effect": "reset-in"}, ErrorClass.NETWORK, "ConnectionReset"),
    ({"effect": "hang"}, ErrorClass.NETWORK, "AttemptTimeout"),
    ({"effect": "cut"}, ErrorClass.NETWORK, "ConnectionReset"),
    ({"effect": "garbage"}, ErrorClass.PROTOCOL, "NotJson"),
    ({"effect": "no-request-id"}, ErrorClass.PROTOCOL, "InvalidRequestId"),
    ({"effect": "bad-request-id"}, ErrorClass.PROTOCOL, "InvalidRequestId"),
    ({"effect": "other-key-id"}, ErrorClass.PROTOCOL, "WrongKeyId"),
    ({"effect": "undecodable"}, ErrorClass.PROTOCOL, "MissingCiphertext"),
    ({"effect": "echo"}, ErrorClass.INVALID_REQUEST, "InvalidParameterValue"),
    ({"effect": "echo", "code": "InternalError"}, ErrorClass.INTERNAL, "InternalError"),
]
HARMLESS = {"reset-after"}
"""Effects after which every row is still encrypted: what came of them is another test."""


@asynccontextmanager
async def batch_of(
    kind: Kind, tmp_path: Path, *rules: dict[str, Any]
) -> AsyncIterator[tuple[Emulator, Any]]:
    """An emulator with these rules, and what encrypts some rows against it."""
    async with Emulator(data_dir=tmp_path, rate_limit=None, faults=rules) as emulator:
        credentials = StaticCredentials(Credentials(emulator.secret_id, emulator.secret_key))
        kms = KmsClient(
            region=emulator.region,
            endpoint=emulator.endpoint,
            credentials=credentials,
            transport=kind(
                parse_endpoint(emulator.endpoint),
                timeout_s=TIMEOUT_S,
                connect_timeout_s=TIMEOUT_S,
            ),
        )

        async def run(rows: int = 3, retry: RetryPolicy = POLICY) -> list[Result]:
            records = [
                Record(seq=seq, id=f"row-{seq}", plaintext=SECRET.encode())
                for seq in range(1, rows + 1)
            ]
            operation = Encrypt(kms, key_id=emulator.demo_key_id)
            return [r async for r in bulk(operation, records, rate=None, retry=retry)]

        async with kms:
            yield emulator, run


@pytest.mark.parametrize(("rule", "ends_in", "code"), ENDS, ids=lambda part: str(part))
async def test_a_fault_ends_in_its_class_within_its_deadline(
    kind: Kind, tmp_path: Path, rule: dict[str, Any], ends_in: ErrorClass, code: str
) -> None:
    async with batch_of(kind, tmp_path, {"action": "Encrypt", **rule}) as (_, run):
        began_s = time.monotonic()
        results = await run()
        assert time.monotonic() - began_s < DEADLINE_S + 1
    assert [(result.error_class, result.code) for result in results] == [(ends_in, code)] * 3
    # Whatever the service quotes, no row keeps it.
    assert SECRET not in repr(results)


def test_every_effect_is_among_them() -> None:
    shown = {rule["effect"] for rule, _, _ in ENDS if "effect" in rule}
    assert shown | HARMLESS == set(EFFECTS)


async def test_a_reset_after_the_answer_costs_no_row(kind: Kind, tmp_path: Path) -> None:
    rule = {"effect": "reset-after", "calls": "1-2"}
    async with batch_of(kind, tmp_path, rule) as (emulator, run):
        assert {result.status for result in await run(8)} == {"ok"}
        assert emulator.faults.rules()[0]["hits"] == 2


@pytest.mark.parametrize(
    "rule",
    [
        {"effect": "refuse", "for": "100ms", "times": 1},
        {"effect": "reset-before", "calls": 2},
        {"http": 503, "every": 3, "times": 2},
        {"effect": "hang", "for": "100ms", "calls": 1},
        {"latency": "uniform:10ms-50ms"},
        {"code": "InternalError", "times": 1},
    ],
    ids=str,
)
async def test_what_passes_is_got_over(kind: Kind, tmp_path: Path, rule: dict[str, Any]) -> None:
    async with batch_of(kind, tmp_path, rule) as (emulator, run):
        assert {result.status for result in await run(4, PATIENT)} == {"ok"}
        assert emulator.faults.rules()[0]["hits"] >= 1


@pytest.mark.parametrize("code", ["AuthFailure.SignatureExpire", "ResourceUnavailable.CmkDisabled"])
async def test_a_fault_that_condemns_all_stops_the_run(
    kind: Kind, tmp_path: Path, code: str
) -> None:
    async with batch_of(kind, tmp_path, {"code": code}) as (_, run):
        with pytest.raises(RunStopped, match=code.rpartition(".")[2]):
            await asyncio.wait_for(run(), DEADLINE_S + 1)


async def test_a_quota_that_changes_throttles_and_comes_back(kind: Kind, tmp_path: Path) -> None:
    rule = {"action": "Encrypt", "calls": 2, "quota": 1, "for": "200ms"}
    async with batch_of(kind, tmp_path, rule) as (emulator, run):
        await run(4)
        await asyncio.sleep(0.25)
        assert {result.status for result in await run(5)} == {"ok"}
        assert emulator.stats.as_json()["actions"]["Encrypt"]["throttled"] >= 1
