"""The HTTP side: what is a call, what is a question about the emulator, and what is neither.

Every answer of the API has status 200 and exactly `Content-Type: application/json`: with a
charset after it, the official Python SDK would not look for an error in the answer.
"""

from __future__ import annotations

import logging
from typing import Any

import orjson
from aiohttp import web
from aiohttp.web_exceptions import HTTPRequestEntityTooLarge

from batchkms.emulator.apierror import ApiError, api_error, missing_header
from batchkms.emulator.gateway import Gateway
from batchkms.kms.wire import CONTENT_TYPE, HEADER_ACTION, MAX_REQUEST_BYTES

KEEPALIVE_S = 60.0
"""The real server closes idle connections after 60 s (tencentcloud-sdk-go pull request 292)."""

_JSON_HEADERS = {"Content-Type": CONTENT_TYPE}
_STATS_PATH = "/_emulator/stats"

# NOTE: aiohttp's own log would quote what it cannot parse, with a signature or plaintext in it.
# A logger that is registered nowhere has no handlers, whatever the program configures.
_MUTE = logging.Logger("batchkms.emulator.http", level=logging.CRITICAL + 1)


def http_server(gateway: Gateway) -> web.Server:
    """A protocol factory for `loop.create_server`; it needs a running loop."""
    return web.Server(
        _Front(gateway).answer,
        request_factory=_request,
        access_log=None,
        logger=_MUTE,
        keepalive_timeout=KEEPALIVE_S,
        # A signature covers the body as it was sent.
        auto_decompress=False,
        lingering_time=2.0,
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
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        # The Python SDK's async client posts to `/?`. `request.url` is never touched: tccli
        # sends a Host with a scheme in it, which makes aiohttp raise.
        path, _, _ = request.raw_path.partition("?")
        if path == "/":
            return web.Response(body=await self._call(request), headers=_JSON_HEADERS)
        if path == _STATS_PATH and request.method == "GET":
            stats = orjson.dumps(self._gateway.stats.as_json())
            return web.Response(body=stats, headers=_JSON_HEADERS)
        return web.Response(status=404, text="there is nothing here\n")

    async def _call(self, request: web.BaseRequest) -> bytes:
        try:
            body = await _body(request)
        except ApiError as error:
            return self._gateway.refusal(error, request.headers.get(HEADER_ACTION, ""))
        return await self._gateway.answer(request.headers, body)


async def _body(request: web.BaseRequest) -> bytes:
    """The body of a call. Raises ApiError."""
    content_type = request.headers.get("Content-Type")
    if request.method != "POST":
        raise api_error("UnsupportedProtocol")
    if content_type is None:
        raise missing_header("Content-Type")
    if content_type.partition(";")[0].strip().lower() != CONTENT_TYPE:
        raise api_error("UnsupportedProtocol")
    try:
        return await request.read()
    except HTTPRequestEntityTooLarge:
        raise api_error("RequestSizeLimitExceeded") from None
