"""The calls of a load test against the real emulator, over real sockets."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from batchkms.emulator import Emulator
from batchkms.kms.credentials import Credentials
from batchkms.kms.endpoint import parse_endpoint
from batchkms.kms.signedrequests import SignatureMethod, signed_requests
from batchkms.loadtest.contents import Payloads
from batchkms.loadtest.judging import Judged
from batchkms.loadtest.mix import parse_mix
from batchkms.loadtest.payload import parse_payload_size
from batchkms.loadtest.rows import Row, Rows
from batchkms.loadtest.workload import Workload
from batchkms.records import Record
from tests.loadtest.carrying import Carrier, answered

CONTEXT = '{"team":"röd +/=&"}'
OTHER_CONTEXT = '{"team":"blue"}'
METHODS: list[SignatureMethod] = ["tc3", "v1"]


@pytest.fixture
async def emulator(tmp_path: Path) -> AsyncIterator[Emulator]:
    """An emulator without a quota."""
    async with Emulator(data_dir=tmp_path / "data", rate_limit=None) as emulator:
        yield emulator


def workload(
    emulator: Emulator,
    mix: str,
    *,
    rows: list[Row] | None = None,
    size: str = "64",
    key_id: str | None = "demo",
    method: SignatureMethod = "tc3",
    secret_key: str | None = None,
) -> Workload:
    """A workload against an emulator, by default with its demo key."""
    return Workload(
        mix=parse_mix(mix),
        payloads=Payloads(
            size=parse_payload_size(size), rows=None if rows is None else Rows(rows, [])
        ),
        requests=signed_requests(parse_endpoint(emulator.endpoint), emulator.region, method=method),
        key_id=emulator.demo_key_id if key_id == "demo" else key_id,
        credentials=Credentials(emulator.secret_id, secret_key or emulator.secret_key),
        seed=1,
    )


async def judged(emulator: Emulator, work: Workload, calls: int) -> list[tuple[str, Judged]]:
    """What each of the first calls came to, and of which action it was."""
    async with Carrier(emulator.endpoint) as carrier:
        prepared = [work.next() for _ in range(calls)]
        return [
            (each.action, each.judge(await carrier.answer(each.request()))) for each in prepared
        ]


async def sealed(emulator: Emulator, plaintext: str = "aGVsbG8=") -> Row:
    """A row with a ciphertext that the emulator made, bound to a context."""
    parameters = {
        "KeyId": emulator.demo_key_id,
        "Plaintext": plaintext,
        "EncryptionContext": CONTEXT,
    }
    blob = (await answered(emulator, "Encrypt", parameters))["CiphertextBlob"]
    return Row(Record(seq=1, id="1", ciphertext=blob, encryption_context=CONTEXT))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", ["1", "1-40", "1KiB:1,4096:1"])
async def test_all_four_actions(emulator: Emulator, method: SignatureMethod, size: str) -> None:
    rows = [await sealed(emulator), await sealed(emulator, "d29ybGQ=")]
    mix = "encrypt=4,decrypt=2,reencrypt,generate-data-key"
    calls = await judged(emulator, workload(emulator, mix, rows=rows, size=size, method=method), 32)
    assert {(judged.outcome, judged.code, judged.in_step) for _, judged in calls} == {
        ("ok", None, True)
    }
    assert Counter(action for action, _ in calls) == {
        "encrypt": 16,
        "decrypt": 8,
        "reencrypt": 4,
        "generate-data-key": 4,
    }
    assert len({judged.request_id for _, judged in calls}) == 32
