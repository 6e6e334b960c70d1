"""Faults that need the connection: what the HTTP side does in the place of a plain answer."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from batchkms.emulator.faults.fault import Fault
from batchkms.emulator.faults.rule import (
    CUT,
    GARBAGE,
    HANG,
    REFUSE,
    RESET_AFTER,
    RESET_BEFORE,
    RESET_IN,
)
from batchkms.kms.wire import CONTENT_TYPE

DEFAULT_REFUSE_S = 1.0
"""How long connections are refused if the rule does not say."""

GARBAGE_BODY = b'\x1f\x8b{"Response":{"Request\xff\xfe'
"""No gzip, no UTF-8 and no JSON, though it begins like each of them."""

_ARRIVAL_S = 0.02
"""Time for bytes to get through before the connection is reset behind them."""

_POLL_S = 0.05
_LINGER_NOT = struct.pack("ii", 1, 0)
_HEADERS = {"Content-Type": CONTENT_TYPE}
_HTTP_TEXT = (
    "<html><head><title>{status}</title></head><body><center>nginx</center></body></html>\n"
)


@dataclass(frozen=True, slots=True)
class Spoiled:
    """An answer that is not simply sent; `body` is what would have been, if there is any."""

    fault: Fault
    body: bytes = b""


class Carrier:
    """Carries out the faults of one emulator.

    `refuse` is called with a time in seconds, for which nothing shall be listened on.
    """

    def __init__(self, refuse: Callable[[float], None]) -> None:
        self._refuse = refuse
        self._released = asyncio.Event()

    def release(self) -> None:
        """Lets go of the calls that hang, since the emulator ends."""
        self._released.set()

    async def carry_out(self, request: web.BaseRequest, spoiled: Spoiled) -> web.StreamResponse:
        """Does to the connection what the fault says."""
        rule = spoiled.fault.outcome
        if rule is None:
            return web.Response(body=spoiled.body, headers=_HEADERS)
        if rule.http is not None:
            page = _HTTP_TEXT.format(status=rule.http)
            return web.Response(status=rule.http, text=page, content_type="text/html")
        if rule.effect == GARBAGE:
            return web.Response(body=GARBAGE_BODY, headers=_HEADERS)
        if rule.effect == HANG:
            await self._hang(request, rule.for_s)
        elif rule.effect == REFUSE:
            self._refuse(rule.for_s or DEFAULT_REFUSE_S)
        if rule.effect in (HANG, REFUSE, RESET_BEFORE):
            reset(request.transport)
            return web.Response()
        return await _part(request, spoiled.body, rule.effect)

    async def _hang(self, request: web.BaseRequest, for_s: float | None) -> None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + (float("inf") if for_s is None else for_s)
        while request.transport is not None and loop.time() < until_s:
            try:
                await asyncio.wait_for(self._released.wait(), _POLL_S)
            except TimeoutError:
                continue
            return


async def _part(request: web.BaseRequest, body: bytes, effect: str | None) -> web.StreamResponse:
    """Sends all of an answer or half of it, and ends the connection by a reset or a plain close."""
    response = web.StreamResponse(headers=_HEADERS)
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body if effect == RESET_AFTER else body[: len(body) // 2])
    if effect == CUT:
        if request.transport is not None:
            request.transport.close()
    elif effect in (RESET_IN, RESET_AFTER):
        await asyncio.sleep(_ARRIVAL_S)
        reset(request.transport)
    return response


def reset(transport: asyncio.Transport | None) -> None:
    """Ends a connection with RST instead of FIN."""
    if transport is None:
        return
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    transport.abort()
