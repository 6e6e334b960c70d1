"""The snippets of docs/emulator.md for clients that are installed from their registries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from batchkms.emulator import Emulator
from tests.clients.conftest import ended
from tests.emulator.test_docs import snippets

pytestmark = pytest.mark.long


@pytest.fixture
def ready_file(emulator: Emulator, tmp_path: Path) -> Path:
    """The file that every snippet reads."""
    ready = {
        "endpoint": emulator.endpoint,
        "region": emulator.region,
        "secret_id": emulator.secret_id,
        "secret_key": emulator.secret_key,
        "key_id": emulator.demo_key_id,
    }
    path = tmp_path / "emulator.json"
    path.write_text(json.dumps(ready))
    return path


async def test_the_node_snippet_encrypts(ready_file: Path, node_modules: Path) -> None:
    (code,) = snippets("node")
    command = f"cd {ready_file.parent} && node -e '{code}'"
    assert "'" not in code
    ended_with, told, problems = await ended(
        "sh", "-c", command, environ={"NODE_PATH": str(node_modules)}
    )
    assert (ended_with, problems) == (0, "")
    assert len(told.strip()) == 166


async def test_the_tccli_snippet_encrypts(ready_file: Path, tccli: str) -> None:
    (code,) = snippets("tccli")
    (function,) = snippets("shell function")
    code = code.replace("tccli kms", f"{tccli} kms")
    script = f"cd {ready_file.parent}\n{function}{code}"
    ended_with, told, problems = await ended(
        "sh", "-euc", script, environ={"HOME": str(ready_file.parent)}
    )
    assert (ended_with, problems) == (0, "")
    assert len(json.loads(told)["CiphertextBlob"]) == 166
