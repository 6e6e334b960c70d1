"""The HTTP side: what is a call, what is a question about the emulator, and what is neither.

Every answer of the API has status 200 and exactly `Content-Type: application/json`: with a
charset after it, the official Python SDK would not look for an error in the answer.
"""

from __future__ import annotations

import logging
from typing import Any

from aiohttp import web
from aiohttp.web_exceptions import HTTPRequestEntityTooLarge

from batchkms.emulator.apierror import api_error
from batchkms.emulator.calls import MAX_GET_CHARS, Request
from batchkms.emulator.control import PREFIX, Control
from batchkms.emulator.faults import Carrier, Spoiled
from batchkms.emulator.gateway import Gateway
from batchkms.emulator.texts import ENGLISH
from batchkms.kms.wire import CONTENT_TYPE, HEADER_ACTION, HEADER_LANGUAGE, MAX_REQUEST_BYTES

KEEPALIVE_S = 60.0
"""The real server closes idle connections after 60 s (tencentcloud-sdk-go pull request 292)."""

# The real gateway says so too, and nobody need know which library this is.
_JSON_HEADERS = {"Content-Type": CONTENT_TYPE, "Server": "nginx"}

_MAX_LINE_CHARS = 2 * MAX_GET_CHARS
"""Room for a query that is too long, so that it is refused as the gateway does."""

# NOTE: aiohttp's own log would quote what it cannot parse, with a signature or plaintext in it.
# A logger that is registered nowhere has no handlers, whatever the program configures.
_MUTE = logging.Logger("batchkms.emulator.http", level=logging.CRITICAL + 1)


def http_server(
    gateway: Gateway,
    control: Control | None = None,
    *,
    strict: bool = False,
    carrier: Carrier | None = None,
) -> web.Server:
    """A protocol factory for `loop.create_server`; it needs a running loop.

    `strict` refuses a Host that is no host, as nginx in front of the real gateway does.
    """
    return web.Server(
        _Front(gateway, control or Control(gateway), carrier, strict=strict).answer,
        request_factory=_request,
        access_log=None,
        logger=_MUTE,
        keepalive_timeout=KEEPALIVE_S,
        # A signature covers the body as it was sent.
        auto_decompress=False,
        lingering_time=2.0,
        max_line_size=_MAX_LINE_CHARS,
    )


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    """A request that may be as large as the API allows; aiohttp's own limit is 1 MiB."""
    return web.BaseRequest(
        message,
        payload,
        protocol,
        writer,
        task,
        task.get_loop(),
        client_max_size=MAX_REQUEST_BYTES,
    )


class _Front:
    def __init__(
        self, gateway: Gateway, control: Control, carrier: Carrier | None, *, strict: bool
    ) -> None:
        self._carrier = carrier or Carrier(refuse=lambda for_s: None)
        self._gateway = gateway
        self._control = control
        self._strict = strict

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        # The Python SDK's async client posts to `/?`. `request.url` is never touched: tccli
        # sends a Host with a scheme in it, which makes aiohttp raise.
        path, _, query = request.raw_path.partition("?")
        if path == "/":
            if self._strict and "/" in request.headers.get("Host", ""):
                return web.Response(status=400, text="400 Bad Request\n")
            answer = await self._call(request, query)
            if isinstance(answer, Spoiled):
                return await self._carrier.carry_out(request, answer)
            return web.Response(body=answer, headers=_JSON_HEADERS)
        if path.startswith(PREFIX):
            return await self._control.answer(request, path)
        return web.Response(status=404, text="there is nothing here\n")

    async def _call(self, request: web.BaseRequest, query: str) -> bytes | Spoiled:
        try:
            body = await request.read()
        except HTTPRequestEntityTooLarge:
            return self._gateway.refusal(
                api_error("RequestSizeLimitExceeded"),
                action=request.headers.get(HEADER_ACTION, ""),
                language=request.headers.get(HEADER_LANGUAGE, ENGLISH),
            )
        return await self._gateway.answer(Request(request.method, query, request.headers, body))
