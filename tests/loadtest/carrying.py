"""Carries requests that are bytes already to a real server, and brings the answers back."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

from batchkms.emulator import Emulator
from batchkms.kms.client import KmsClient
from batchkms.kms.credentials import Credentials, StaticCredentials
from batchkms.kms.transport import Answer


class Carrier:
    """One connection to a server on loopback."""

    def __init__(self, endpoint: str) -> None:
        self._port = int(endpoint.rpartition(":")[2])

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.transport.abort()

    async def answer(self, request: bytes) -> Answer:
        """What the server says to these bytes."""
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        lines = dict(line.lower().split(": ", 1) for line in head[1:-2])
        body = await self._reader.readexactly(int(lines["content-length"]))
        return Answer(int(head[0].split()[1]), body)


async def answered(emulator: Emulator, action: str, parameters: dict[str, str]) -> dict[str, Any]:
    """The `Response` of one call of an emulator."""
    credentials = StaticCredentials(Credentials(emulator.secret_id, emulator.secret_key))
    async with KmsClient(
        region=emulator.region, endpoint=emulator.endpoint, credentials=credentials
    ) as kms:
        return await kms.call(action, parameters)
