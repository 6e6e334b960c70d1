"""The real program as a process: what it is given, and what came of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from batchkms.emulator import Emulator
from tests.scenarios.ended import Ended, environment
from tests.scenarios.started import run_to_its_end


@dataclass(frozen=True)
class Program:
    """`batchkms` in an empty home, in a folder of its own.

    `alone` starts an interpreter for each run, whose command line any process may see.
    """

    folder: Path
    alone: bool = False

    def command(self, *arguments: str) -> list[str]:
        """The arguments of a process."""
        return [sys.executable, "-m", "batchkms", *arguments]

    def environ(self, more: dict[str, str] | None = None) -> dict[str, str]:
        """An environment without any credentials."""
        return environment(self.folder) | (more or {})

    def __call__(
        self,
        *arguments: str,
        stdin: bytes | Path = b"",
        environ: dict[str, str] | None = None,
        preexec: Callable[[], None] | None = None,
    ) -> Ended:
        """Runs it to its end, with these bytes piped in or a file as its stdin."""
        if preexec is None and not self.alone:
            return run_to_its_end(
                arguments, folder=self.folder, environ=self.environ(environ), stdin=stdin
            )
        with ExitStack() as stack:
            file = stack.enter_context(stdin.open("rb")) if isinstance(stdin, Path) else None
            done = subprocess.run(
                self.command(*arguments),
                cwd=self.folder,
                env=self.environ(environ),
                stdin=file,
                input=None if isinstance(stdin, Path) else stdin,
                capture_output=True,
                timeout=60,
                check=False,
                preexec_fn=preexec,
            )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    async def beside(
        self, *arguments: str, stdin: bytes | Path = b"", environ: dict[str, str] | None = None
    ) -> Ended:
        """Runs it to its end while the test's own event loop goes on serving."""
        return await asyncio.to_thread(self, *arguments, stdin=stdin, environ=environ)

    def write(self, name: str, content: str | bytes) -> Path:
        """A file in its folder."""
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


@pytest.fixture
def batchkms(tmp_path: Path) -> Program:
    """The program, to be called."""
    return Program(tmp_path)


@pytest.fixture
async def kms(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Emulator]:
    """An emulator without a rate limit, in the test's own event loop."""
    async with Emulator(data_dir=tmp_path_factory.mktemp("kms"), rate_limit=None) as emulator:
        yield emulator


@pytest.fixture
async def silent() -> AsyncIterator[str]:
    """The endpoint of a service that takes every call and answers none."""

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


assert os.name == "posix", "the scenarios send signals and set limits"
