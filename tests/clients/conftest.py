"""Official clients that are no Python libraries, installed for the tests from their registries.

Each installation takes from seconds to a minute and the network, so that these tests are run
with `-m long` only. What cannot be had skips its tests, and says why.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from batchkms.emulator import Emulator

HERE = Path(__file__).parent
NODE_SDK = "tencentcloud-sdk-nodejs"
INSTALL_TIMEOUT_S = 300
RUN_TIMEOUT_S = 60


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that Node finds the official SDK in."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("there is no npm or no node on this machine")
    folder = tmp_path_factory.mktemp("node")
    _install(
        [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund"]
        + ["--prefix", str(folder), NODE_SDK],
        NODE_SDK,
    )
    return folder / "node_modules"


@pytest.fixture(scope="session")
def tccli(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The command line of the official CLI, which may be there already."""
    found = shutil.which("tccli")
    if found is not None:
        return found
    folder = tmp_path_factory.mktemp("tccli") / "venv"
    # It needs other versions of libraries than we do, hence an environment of its own.
    _install([sys.executable, "-m", "venv", str(folder)], "a virtual environment")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    _install([*pip, "--disable-pip-version-check", "tccli"], "tccli")
    return str(folder / "bin" / "tccli")


@pytest.fixture
async def emulator(tmp_path: Path) -> AsyncIterator[Emulator]:
    async with Emulator(data_dir=tmp_path / "data") as emulator:
        yield emulator


async def ended(*command: str, environ: Mapping[str, str]) -> tuple[int | None, str, str]:
    """Exit code, stdout and stderr of a command."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **environ},
    )
    try:
        written = await asyncio.wait_for(process.communicate(), RUN_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return process.returncode, written[0].decode(), written[1].decode()


def _install(command: list[str], what: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{what} could not be installed within {INSTALL_TIMEOUT_S} s")
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout).decode(errors="replace").strip().splitlines()
        pytest.skip(f"{what} could not be installed: {lines[-1] if lines else 'no reason given'}")
