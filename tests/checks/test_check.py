"""A whole check, against the emulator, of an input that is full of defects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from batchkms.checks.account import ENABLED
from batchkms.checks.check import check
from batchkms.checks.inventory import Batch
from batchkms.checks.plan import Plan
from batchkms.checks.report import CheckReport
from batchkms.emulator import Emulator
from batchkms.kms.client import KmsClient
from batchkms.kms.credentials import Credentials, StaticCredentials
from batchkms.reporting.summary import Exit
from batchkms.sources import open_source
from tests.checks.seeded import CANARY, FIELDS, KEYS, Sown, sow
from tests.checks.test_inventory import Given, record


async def checked(folder: Path, sown: Sown) -> CheckReport:
    """The check of in.jsonl, with the second of its keys disabled."""
    (folder / "keys.toml").write_text(
        f'[[keys]]\nid = "{KEYS[0]}"\nalias = "one"\n'
        f'[[keys]]\nid = "{KEYS[1]}"\nalias = "two"\nstate = "Disabled"\n'
    )
    emulator = Emulator(data_dir=folder / "kms", seed_file=folder / "keys.toml")
    path = str(folder / "in.jsonl")
    source = open_source(path, fields=FIELDS, needs_key=True)
    async with (
        emulator,
        KmsClient(
            region=emulator.region,
            endpoint=emulator.endpoint,
            credentials=StaticCredentials(Credentials(emulator.secret_id, emulator.secret_key)),
        ) as kms,
    ):
        try:
            report = await check(
                source,
                kms=kms,
                region=emulator.region,
                rate="auto",
                reserve=0.5,
                output_folder=str(folder),
                again=lambda: open_source(path, fields=FIELDS),
            )
        finally:
            await source.aclose()
        calls = {
            name for name, each in emulator.stats.as_json()["actions"].items() if each["calls"]
        }
    assert calls == {"DescribeKeys", "GetServiceStatus"}
    return report


async def test_a_whole_check(tmp_path: Path) -> None:
    sown = sow(tmp_path / "in.jsonl", rows=2_000, each=5, seed=1)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    report = await checked(tmp_path, sown)
    assert report.exit_code is Exit.SOME_FAILED
    account = report.account
    assert account is not None
    assert {key.key_id: (key.state, key.rows) for key in account.keys} == {
        KEYS[0]: (ENABLED, sown.keys[KEYS[0]]),
        KEYS[1]: ("Disabled", sown.keys[KEYS[1]]),
    }
    assert (account.quota, report.estimate.per_second) == (300, 150)
    assert report.estimate.calls == sum(sown.sizes.values())
    assert report.estimate.fits
    told = "\n".join(report.as_text()) + json.dumps(report.as_json())
    assert "twice/0: rows " in told
    assert CANARY not in told
    assert all(path.read_bytes() == content for path, content in before.items())
    assert {path.name for path in tmp_path.iterdir()} == {"in.jsonl", "keys.toml", "kms"}


@pytest.mark.parametrize("rows", [0, 25])
async def test_without_the_service(rows: int) -> None:
    source = Given([record(seq) for seq in range(1, rows + 1)])
    plan = Plan(mode="envelope", data_key_rows=10)
    report = await check(source, kms=None, region="r", rate="auto", plan=plan)
    assert report.account is None
    estimate = report.estimate
    assert (estimate.calls, estimate.per_second, estimate.seconds) == (-(-rows // 10), None, None)
    assert report.exit_code is (Exit.OK if rows else Exit.NO_RECORDS)
    assert "the service was not asked" in report.notes()


@pytest.mark.parametrize(
    ("plan", "calls", "seconds", "told"),
    [
        (Plan(command="reencrypt", transfer=True), 1_200, 600 / 300, "at 300/s"),
        (Plan(mode="envelope", data_key_rows=1), 600, 600 / 100, "at 100/s"),
        (Plan(), 600, 600 / 300, "at 300/s"),
    ],
)
async def test_each_kind_of_call_keeps_to_its_own_rate(
    plan: Plan, calls: int, seconds: float, told: str
) -> None:
    source = Given([record(seq) for seq in range(1, 601)])
    report = await check(source, kms=None, region="r", rate=300, plan=plan)
    estimate = report.estimate
    assert (estimate.calls, estimate.per_second) == (calls, 300)
    assert estimate.seconds == pytest.approx(seconds, rel=0.01)
    assert told in "".join(report.as_text())


async def test_a_file_like_the_input_must_fit_as_well() -> None:
    rows: Batch = [record(seq) for seq in range(1, 101)]
    results = await check(Given(rows), kms=None, region="r", plan=Plan())
    both = await check(Given(rows), kms=None, region="r", plan=Plan(in_place=True))
    # No ciphertext is shorter than 150 characters.
    assert both.estimate.output_bytes - results.estimate.output_bytes > 100 * 150


@pytest.mark.parametrize("asked", [True, False])
async def test_rows_without_a_cmk_speak_against_a_run(tmp_path: Path, asked: bool) -> None:
    source = Given([record(1), record(2, key_id=KEYS[0]), record(3)])
    emulator = Emulator(data_dir=tmp_path / "kms")
    async with (
        emulator,
        KmsClient(
            region=emulator.region,
            endpoint=emulator.endpoint,
            credentials=StaticCredentials(Credentials(emulator.secret_id, emulator.secret_key)),
        ) as kms,
    ):
        report = await check(source, kms=kms if asked else None, region=emulator.region)
    says = "2 rows name no CMK and none was given: add --key-id"
    assert (says in report.defects(), says in report.notes()) == (asked, not asked)
    assert report.exit_code is (Exit.SOME_FAILED if asked else Exit.OK)
