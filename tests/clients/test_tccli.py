"""The official command line client, unmodified; it signs with TC3 and posts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batchkms.emulator import Emulator
from tests.clients.conftest import ended
from tests.emulator.calling import b64

pytestmark = pytest.mark.long


class Tccli:
    """The client, pointed at an emulator."""

    def __init__(self, command: str, emulator: Emulator, home: Path) -> None:
        self._command = command
        self._emulator = emulator
        self._home = home

    async def run(
        self, action: str, *options: str, secret_key: str | None = None
    ) -> tuple[int | None, str, str]:
        """Exit code, stdout and stderr of one action."""
        return await ended(
            *(self._command, "kms", action, *options, "--endpoint", self._emulator.endpoint),
            environ={
                "HOME": str(self._home),
                "TENCENTCLOUD_SECRET_ID": self._emulator.secret_id,
                "TENCENTCLOUD_SECRET_KEY": secret_key or self._emulator.secret_key,
                "TENCENTCLOUD_REGION": self._emulator.region,
            },
        )

    async def __call__(self, action: str, *options: str) -> Any:
        """The answer of an action that succeeds."""
        code, told, problems = await self.run(action, *options)
        assert (code, problems) == (0, "")
        return json.loads(told)


@pytest.fixture
def run(tccli: str, emulator: Emulator, tmp_path: Path) -> Tccli:
    return Tccli(tccli, emulator, tmp_path)


async def test_the_core_scenario(emulator: Emulator, run: Tccli) -> None:
    context = '{"app": "billing + more", "名": "值"}'
    sealing = ("--KeyId", emulator.demo_key_id, "--Plaintext", b64(b"a secret"))
    sealed = await run("Encrypt", *sealing, "--EncryptionContext", context)
    opening = ("--CiphertextBlob", sealed["CiphertextBlob"])
    opened = await run("Decrypt", *opening, "--EncryptionContext", context)
    assert (opened["Plaintext"], opened["KeyId"]) == (b64(b"a secret"), emulator.demo_key_id)
    listed = [key["KeyId"] for key in (await run("ListKeys", "--Limit", "10"))["Keys"]]
    described = await run("DescribeKeys", "--KeyIds", json.dumps(listed))
    assert [key["KeyId"] for key in described["KeyMetadatas"]] == [emulator.demo_key_id]


async def test_failures_are_told_with_code_and_request_id(run: Tccli) -> None:
    code, told, problems = await run.run("Decrypt", "--CiphertextBlob", "no blob")
    assert (code, told) == (255, "")
    # It asks for Chinese unless told otherwise.
    assert "code:InvalidParameterValue.InvalidCiphertext message:密文格式错误。" in problems
    assert "requestId:" in problems
    code, _, problems = await run.run("ListKeys", secret_key="another")
    assert (code, "code:AuthFailure.SignatureFailure" in problems) == (255, True)


async def test_a_strict_emulator_refuses_its_host(tccli: str, tmp_path: Path) -> None:
    async with Emulator(data_dir=tmp_path / "data", strict=True) as emulator:
        code, _, problems = await Tccli(tccli, emulator, tmp_path).run("ListKeys")
    assert (code, "ServerNetworkError" in problems) == (255, True)
