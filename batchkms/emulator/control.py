"""`/_emulator/*`: what was called, what goes wrong, and back to the start.

On loopback these need no token, and then a web page that is open in a browser on this machine
must not reach them: not by a form or script of its own (Origin, Sec-Fetch-Site), and not by a
name of its own that it has made mean 127.0.0.1 (Host). Elsewhere a bearer token is asked for,
which no page can know.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import orjson
from aiohttp import web

from batchkms.emulator.gateway import Gateway
from batchkms.errors import ConfigError

PREFIX = "/_emulator/"

_HOST = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<name>[^\[\]:]*))(?::[0-9]*)?", re.ASCII)

_OWN_SITE = ("none", "same-origin")

log = logging.getLogger("batchkms.emulator")

Json = dict[str, Any]
Together = Callable[[str, Json], Awaitable[Json]]
"""Makes one answer of this worker's own (`stats`, `requests`, `forget`) and those of the others."""

Reset = Callable[[], Awaitable[None]]


class FaultRules(Protocol):
    """What faults are asked by `/_emulator/faults`."""

    def as_json(self) -> Json:
        """The rules in force and how often each has struck."""

    def add_json(self, rules: Any) -> None:
        """Adds a rule or a list of rules. Raises ConfigError."""

    def clear(self) -> None:
        """Drops every rule."""


class Control:
    """Answers the questions about one emulator.

    `token` is None on loopback. `reset` puts the keys back; what was counted goes with it.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        token: str | None = None,
        reset: Reset | None = None,
        faults: FaultRules | None = None,
        together: Together | None = None,
    ) -> None:
        self._together = together or _alone
        self._gateway = gateway
        self._token = token
        self._reset_keys = reset
        self._faults = faults
        self._pages: dict[tuple[str, str], Callable[[bytes], Awaitable[Json]]] = {
            ("GET", "stats"): self._stats,
            ("GET", "requests"): self._requests,
        }
        if reset is not None:
            self._pages["POST", "reset"] = self._reset
        if faults is not None:
            self._pages["GET", "faults"] = self._shown_faults
            self._pages["POST", "faults"] = self._added_faults
            self._pages["DELETE", "faults"] = self._no_faults

    async def answer(self, request: web.BaseRequest, path: str) -> web.Response:
        """The answer to a request whose path begins with PREFIX."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        name = path.removeprefix(PREFIX)
        page = self._pages.get((request.method, name))
        if page is None:
            return self._nothing(name)
        try:
            return _json(200, await page(await request.read()))
        except ConfigError as error:
            return _json(400, {"error": error.message, "hint": error.hint})

    def _refusal(self, request: web.BaseRequest) -> web.Response | None:
        if self._token is None:
            return None if _is_no_page(request) else _json(403, {"error": "not for web pages"})
        given = request.headers.get("Authorization", "").encode(errors="replace")
        if hmac.compare_digest(f"Bearer {self._token}".encode(), given):
            return None
        refused = _json(401, {"error": "the header Authorization: Bearer TOKEN is needed"})
        refused.headers["WWW-Authenticate"] = "Bearer"
        return refused

    def _nothing(self, name: str) -> web.Response:
        methods = [method for method, page in self._pages if page == name]
        if not methods:
            return web.Response(status=404, text="there is nothing here\n")
        refused = _json(405, {"error": f"use {' or '.join(methods)}"})
        refused.headers["Allow"] = ", ".join(methods)
        return refused

    async def _stats(self, body: bytes) -> Json:
        return await self._together("stats", self._gateway.stats.as_json())

    async def _requests(self, body: bytes) -> Json:
        return await self._together("requests", self._gateway.requests())

    async def _reset(self, body: bytes) -> Json:
        if self._reset_keys is not None:
            await self._reset_keys()
        self._gateway.forget()
        await self._together("forget", {})
        log.info("the emulator is as it was when it started")
        return {}

    async def _shown_faults(self, body: bytes) -> Json:
        return self._faults.as_json() if self._faults is not None else {}

    async def _added_faults(self, body: bytes) -> Json:
        try:
            rules = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise ConfigError("the body is no JSON", hint="send a rule or a list of them") from None
        if self._faults is not None:
            self._faults.add_json(rules)
        return await self._shown_faults(body)

    async def _no_faults(self, body: bytes) -> Json:
        if self._faults is not None:
            self._faults.clear()
        return await self._shown_faults(body)


async def _alone(what: str, own: Json) -> Json:
    """The answer of an emulator without further workers."""
    return own


def _is_no_page(request: web.BaseRequest) -> bool:
    """Whether a request comes from a program, or from a person who typed the address."""
    headers = request.headers
    if "Origin" in headers or headers.get("Sec-Fetch-Site", "none") not in _OWN_SITE:
        return False
    return _is_address(headers.get("Host", ""))


def _is_address(host: str) -> bool:
    """Whether a Host is an IP address or localhost, which nobody can make mean another one."""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match["six"] or match["name"] or ""
    if name.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _json(status: int, fields: Json) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(fields),
        headers={"Content-Type": "application/json", "Cache-Control": "no-store"},
    )
