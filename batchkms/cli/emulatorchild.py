"""The emulator of a load test, in a process of its own: the generator's CPU is not to be its.

It serves until its stdin ends, which it does with the parent, however that dies.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from batchkms.errors import ConfigError

_STDIN_FD = 0


@asynccontextmanager
async def emulator_child(*, data_dir: str | None, region: str) -> AsyncIterator[dict[str, Any]]:
    """Runs one meanwhile; what its ready line tells. Raises ConfigError."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "batchkms.cli.emulatorchild", region, data_dir or ""),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # Not in the terminal's group: an interrupt drains the test, which needs its server.
        start_new_session=True,
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("a process was made without the pipes that were asked for")
    try:
        ready = await process.stdout.readline()
        if not ready:
            raise ConfigError(
                "the emulator could not be started",
                hint="the line above says why; or run `batchkms emulator` and name its --endpoint",
            )
        yield orjson.loads(ready)
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(10.0):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


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
    except Exception as error:
        return tell_error(error)
    return 0


if __name__ == "__main__":
    # Nothing more is to be said once the parent has gone.
    code = main(*sys.argv[1:3])
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(code)
