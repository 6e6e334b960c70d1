"""Every job file of `configs/` does what its comments say, as it is, against the emulator."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest

from batchkms.cli.commands import RUNNABLE
from batchkms.cli.main import _COMMANDS
from batchkms.options import OF_COMMAND
from tests.scenarios.conftest import Program
from tests.scenarios.moving import results

ROOT = Path(__file__).parent.parent.parent

OF_FILE = {
    "encrypt": ["encrypt"],
    "envelope": ["encrypt"],
    "reencrypt": ["reencrypt"],
    "decrypt": ["decrypt"],
    "check": ["check"],
    "verify": ["verify"],
    "loadtest": ["loadtest"],
    "migrate": ["run", "check", "encrypt", "verify"],
    "rekey": ["run", "reencrypt", "retry", "audit", "inspect"],
}
"""The commands that a file needs; it is given to the first one."""

OUTPUTS = {
    "encrypt": "encrypted.csv",
    "envelope": "enveloped.jsonl",
    "reencrypt": "reencrypted.csv",
    "decrypt": "decrypted.jsonl",
    "migrate": "migrated.csv",
    "rekey": "rekeyed.csv",
}

PENDING = [name for name, commands in OF_FILE.items() if not set(commands) <= set(_COMMANDS)]
"""Files whose command is not there yet."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the examples, in which the first job file has run already."""
    folder = tmp_path_factory.mktemp("configs")
    shutil.copytree(ROOT / "examples", folder / "examples")
    shutil.copytree(ROOT / "configs", folder / "configs")
    ended = Program(folder)("encrypt", "--config", "configs/encrypt.toml")
    assert ended.code == 0, ended.stderr
    return folder


def test_every_file_is_known() -> None:
    assert {path.stem for path in (ROOT / "configs").iterdir()} == set(OF_FILE)


@pytest.mark.parametrize("name", [name for name in OF_FILE if name not in PENDING])
def test_a_job_file_runs_as_it_is(folder: Path, name: str) -> None:
    command, path = OF_FILE[name][0], f"configs/{name}.toml"
    given = (path,) if command == "run" else ("--config", path)
    ended = Program(folder)(command, *given)
    assert (ended.code, ended.errors) == (0, []), ended.stderr
    assert ended.stdout == ""
    if name in OUTPUTS:
        found = results(folder / OUTPUTS[name])
        assert {row["status"] for row in found.values()} == {"ok"}
        assert len(found) == 12


@pytest.mark.parametrize("name", OF_FILE)
def test_a_job_file_says_how_it_is_run(name: str) -> None:
    text = (ROOT / "configs" / f"{name}.toml").read_text(encoding="utf-8")
    path = f"configs/{name}.toml"
    command = OF_FILE[name][0]
    assert f"`batchkms {command} {'' if command == 'run' else '--config '}{path}`" in text
    tables = [tomllib.loads(text), *tomllib.loads(text).get("step", [])]
    known = {option.name for needed in OF_FILE[name][-4:] for option in OF_COMMAND.get(needed, ())}
    for table in tables:
        assert set(table) <= known | {"input", "step", "command", "allow-failures"}


def test_every_command_on_rows_can_be_a_step() -> None:
    assert set(RUNNABLE) == set(OF_COMMAND) & set(_COMMANDS)
