"""Every code that an action documents reaches both official clients as that code.

Most of them come about in the emulator as they do in the service, which other tests show. A few
cannot: no other cloud product uses its keys, and it is never out of service. A fault rule gives
them, so that a program's handling of each can be tried.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tencentcloud.kms.v20190118 import errorcodes

from batchkms.emulator import Emulator
from tests.emulator.sdk import sdk

CODES = sorted(
    value for name, value in vars(errorcodes).items() if name.isupper() and isinstance(value, str)
)

ACTIONS: dict[str, dict[str, str]] = {
    "Encrypt": {"KeyId": "k", "Plaintext": "QUJD"},
    "ListKeys": {},
    "DisableKey": {"KeyId": "k"},
}


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_every_code_of_the_sdk_reaches_it(tmp_path: Path, kind: str) -> None:
    assert len(CODES) > 50
    async with (
        Emulator(data_dir=tmp_path, rate_limit=None) as emulator,
        sdk(emulator, kind) as client,
    ):
        for code in CODES:
            for action, parameters in ACTIONS.items():
                emulator.faults.clear()
                emulator.faults.add({"action": action, "code": code})
                assert await client.code(action, **parameters) == code
