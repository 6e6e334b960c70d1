"""The official Node SDK, unmodified, in every way to sign and send."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batchkms.emulator import Emulator
from tests.clients.conftest import ended

pytestmark = pytest.mark.long

SCRIPT = Path(__file__).with_name("core.cjs")
WAYS = [
    f"{method} {http}"
    for method in ("TC3-HMAC-SHA256", "HmacSHA1", "HmacSHA256")
    for http in ("POST", "GET")
]


async def run(emulator: Emulator, node_modules: Path, endpoint: str) -> tuple[int | None, str, str]:
    """Exit code, stdout and stderr of the script."""
    ready = {
        "endpoint": endpoint,
        "region": emulator.region,
        "secret_id": emulator.secret_id,
        "secret_key": emulator.secret_key,
        "key_id": emulator.demo_key_id,
    }
    return await ended(
        "node", str(SCRIPT), json.dumps(ready), environ={"NODE_PATH": str(node_modules)}
    )


# By these hosts the SDK signs for the services `127` and `localhost:PORT`.
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_the_core_scenario(emulator: Emulator, node_modules: Path, host: str) -> None:
    endpoint = emulator.endpoint.replace("127.0.0.1", host)
    code, told, problems = await run(emulator, node_modules, endpoint)
    assert (code, problems) == (0, "")
    outcomes: list[dict[str, Any]] = [json.loads(line) for line in told.splitlines()]
    assert [outcome["way"] for outcome in outcomes] == WAYS
    for outcome in outcomes:
        assert outcome["key_id"] == emulator.demo_key_id
        assert outcome["listed"] == outcome["described"] == [emulator.demo_key_id]
        # This SDK names no language.
        for refusal, expected, message in (
            (
                outcome["bad_blob"],
                "InvalidParameterValue.InvalidCiphertext",
                "The ciphertext is in incorrect format.",
            ),
            (
                outcome["bad_signature"],
                "AuthFailure.SignatureFailure",
                "The provided credentials could not be validated. "
                "Please check your signature is correct.",
            ),
        ):
            assert (refusal["code"], refusal["message"]) == (expected, message)
            assert len(refusal["request_id"]) == 36


async def test_a_strict_emulator_refuses_what_the_real_gateway_refuses(
    node_modules: Path, tmp_path: Path
) -> None:
    async with Emulator(data_dir=tmp_path / "data", strict=True) as emulator:
        code, told, problems = await run(emulator, node_modules, emulator.endpoint)
    assert (code, told) == (1, "")
    assert "AuthFailure.InvalidAuthorization" in problems
    assert "`Service` in Credential not valid" in problems
