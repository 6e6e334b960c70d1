"""How workers ask each other: a line of JSON over a Unix socket that only their user can reach."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

Json = dict[str, Any]
Answer = Callable[[Json], Json]

_TIMEOUT_S = 5.0
_MAX_LINE_BYTES = 32 * 1024 * 1024


class Peers:
    """The other workers. `directory` holds one socket for each of `count`, this one's too."""

    def __init__(self, directory: Path, index: int, count: int) -> None:
        self._mine = directory / str(index)
        self._others = [directory / str(other) for other in range(count) if other != index]
        self._server: asyncio.Server | None = None
        self._telling: set[asyncio.Task[list[Json]]] = set()

    async def open(self, answer: Answer) -> None:
        """Begins to answer the others."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError, ValueError):
                writer.write(orjson.dumps(answer(orjson.loads(await reader.readline()))) + b"\n")
                await writer.drain()
            writer.close()

        self._server = await asyncio.start_unix_server(
            serve, path=self._mine, limit=_MAX_LINE_BYTES
        )

    async def close(self) -> None:
        """Stops answering, when the others have been told what there was to tell."""
        if self._telling:
            await asyncio.wait(self._telling)
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def tell(self, what: Json) -> None:
        """Lets the others know, a moment from now."""
        task = asyncio.get_running_loop().create_task(self.ask(what))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def ask(self, what: Json) -> list[Json]:
        """The answers of all others; one that is about to end has none."""
        answers = await asyncio.gather(*(self._ask(other, what) for other in self._others))
        return [answer for answer in answers if answer is not None]

    async def _ask(self, other: Path, what: Json) -> Json | None:
        with suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(_TIMEOUT_S):
                return await _exchange(other, what)
        return None


async def _exchange(other: Path, what: Json) -> Json:
    reader, writer = await asyncio.open_unix_connection(other, limit=_MAX_LINE_BYTES)
    try:
        writer.write(orjson.dumps(what) + b"\n")
        answer: Json = orjson.loads(await reader.readline())
        return answer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
