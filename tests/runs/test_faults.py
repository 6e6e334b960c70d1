"""Each call to the file system fails once: the run says so, and a resume completes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program, batchkms, kms
from tests.scenarios.ended import credentials, target

__all__ = ["batchkms", "kms"]

ROWS = 300
SHIM = Path(__file__).parent.parent / "faultfs"


def _inventory() -> str:
    return "".join(f'{{"id":"row-{seq}","plaintext":"example {seq}"}}\n' for seq in range(ROWS))


@pytest.mark.parametrize(
    ("call", "how"),
    [
        ("write", "ENOSPC"),
        ("write", "EIO"),
        ("write", "short"),
        ("fsync", "EIO"),
        ("fsync", "ENOSPC"),
        ("replace", "EIO"),
        ("replace", "ENOSPC"),
        ("close", "EIO"),
        ("close", "ENOSPC"),
    ],
)
async def test_a_call_that_fails_once(
    batchkms: Program,  # noqa: F811 - the fixture
    kms: Emulator,  # noqa: F811 - the fixture
    call: str,
    how: str,
) -> None:
    source = batchkms.write("in.jsonl", _inventory())
    fired = batchkms.folder / "fired"
    command = ("encrypt", "in.jsonl", "-o", "out.jsonl", "--fsync-interval", "100ms")
    options = (*target(kms), "--rate", "900")
    shim = {"PYTHONPATH": f"{SHIM}:{batchkms.environ().get('PYTHONPATH', '')}"}
    numbers = 0
    while True:
        numbers += 1
        assert numbers < 40
        for left in batchkms.folder.glob("out.*"):
            left.unlink()
        fired.unlink(missing_ok=True)
        fault = {"FAULTFS": f"{call}:{numbers}:{how}", "FAULTFS_FIRED": str(fired)}
        ended = await batchkms.beside(
            *command, *options, environ={**credentials(kms), **shim, **fault}
        )
        assert "Traceback" not in ended.stderr
        assert "internal error" not in ended.stderr
        if not fired.exists():
            assert ended.code == 0
            break
        told = (call, how, numbers, ended.stderr)
        assert (ended.code == 0) is not bool(ended.errors), told
        if call in ("write", "fsync", "replace") and how != "short":
            # A note of the manifest in the middle of a run may fail; all else must be told.
            assert ended.code in (2, 3) or "cannot be written" in ended.stderr, told
        assert source.read_text() == _inventory()
        ended = await batchkms.beside(*command, *options, "--resume", environ=credentials(kms))
        assert ended.code == 0, told
        rows = [
            json.loads(line) for line in (batchkms.folder / "out.jsonl").read_text().splitlines()
        ]
        assert sorted(row["seq"] for row in rows) == list(range(1, ROWS + 1)), told
        assert {row["status"] for row in rows} == {"ok"}
    assert numbers > 2
