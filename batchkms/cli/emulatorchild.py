"""The emulator of a load test, in a process of its own: the generator's CPU is not to be its.

It serves until its stdin ends, which it does with the parent, however that dies.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from batchkms.childprocess import own_python
from batchkms.errors import ConfigError

_STDIN_FD = 0


@dataclass(frozen=True, slots=True)
class Child:
    """A child that serves: what its ready line tells, and its exit code once it has one.

    `ended` is done before the end of the context only if the child died.
    """

    pid: int
    ready: dict[str, Any]
    ended: asyncio.Future[int]


@asynccontextmanager
async def emulator_child(*, data_dir: str | None, region: str) -> AsyncIterator[Child]:
    """Runs one meanwhile. Raises ConfigError."""
    process = await asyncio.create_subprocess_exec(
        *own_python("batchkms.cli.emulatorchild", region, data_dir or ""),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # Not in the terminal's group: an interrupt drains the test, which needs its server.
        start_new_session=True,
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("a process was made without the pipes that were asked for")
    ended = asyncio.ensure_future(process.wait())
    try:
        ready = await process.stdout.readline()
        if not ready:
            raise ConfigError(
                "the emulator could not be started",
                hint="the line above says why; or run `batchkms emulator` and name its --endpoint",
            )
        yield Child(process.pid, orjson.loads(ready), ended)
    finally:
        process.stdin.close()
        # `wait` does not cancel what it waits for, as a timeout would.
        done, _ = await asyncio.wait([ended], timeout=10.0)
        if not done:
            with suppress(ProcessLookupError):
                process.kill()
        await ended


async def _serve(region: str, data_dir: str) -> None:
    from batchkms.cli.readyline import ready_fields
    from batchkms.emulator import Emulator, default_data_dir

    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(_STDIN_FD, ended.set)
    folder = Path(data_dir) if data_dir else default_data_dir()
    async with Emulator(data_dir=folder, region=region) as server:
        sys.stdout.write(orjson.dumps(ready_fields(server)).decode() + "\n")
        sys.stdout.flush()
        await ended.wait()


def main(region: str, data_dir: str) -> int:
    """Serves, and returns the exit code."""
    from batchkms.cli.logs import log_to_stderr
    from batchkms.cli.main import tell_error

    log_to_stderr(level="error", log_format="text")
    try:
        if sys.platform == "win32":
            asyncio.run(_serve(region, data_dir))
        else:
            import uvloop

            uvloop.run(_serve(region, data_dir))
    except BrokenPipeError:
        # The parent has gone before it could read the ready line.
        return 0
    except Exception as error:
        return tell_error(error)
    return 0


if __name__ == "__main__":
    # Nothing more is to be said once the parent has gone.
    code = main(*sys.argv[1:3])
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(code)
