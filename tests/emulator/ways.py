"""The other ways to call: signature v1 and GET, on a real socket, with every part replaceable."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import orjson
from yarl import URL

from batchkms.emulator import Emulator
from batchkms.kms.signing import (
    canonical_request,
    derive_signing_key,
    signature,
    string_to_sign,
    utc_date,
)
from batchkms.kms.signing_v1 import signature_v1, string_to_sign_v1
from tests.emulator.calling import Caller, Clock, calling

FORM = "application/x-www-form-urlencoded"
Encode = Callable[[str], str]


def rfc3986(text: str) -> str:
    """A space as `%20`, as Node's SDK encodes."""
    return quote(text, safe="")


def encoded(pairs: Mapping[str, str], encode: Encode = quote_plus) -> str:
    """Pairs as a query or form carries them."""
    return "&".join(f"{encode(name)}={encode(value)}" for name, value in pairs.items())


def code_of(response: Mapping[str, Any]) -> str:
    """The error code of a `Response`, or `ok`."""
    return str(response["Error"]["Code"]) if "Error" in response else "ok"


async def send(
    caller: Caller, method: str, query: str, *, body: str = "", headers: Mapping[str, str]
) -> dict[str, Any]:
    """The `Response` to a request that is sent as it stands."""
    target = f"{caller.emulator.endpoint}/?{query}" if query else caller.emulator.endpoint + "/"
    async with caller.session.request(
        method,
        URL(target, encoded=True),
        # aiohttp warns of large bytes, and not of a file of them.
        data=io.BytesIO(body.encode()) if body else None,
        headers=headers,
        skip_auto_headers=["Content-Type"],
    ) as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        response = orjson.loads(await answer.read())["Response"]
    assert len(response["RequestId"]) == 36
    return dict(response)


def v1_pairs(caller: Caller, action: str, **parameters: str) -> dict[str, str]:
    """The parameters of a call with signature v1, all but the signature."""
    return {
        "Action": action,
        "Version": "2019-01-18",
        "Region": caller.emulator.region,
        "Timestamp": str(int(caller.clock.now_s)),
        "Nonce": "11886",
        "SecretId": caller.emulator.secret_id,
        **parameters,
    }


async def call_v1(
    caller: Caller,
    pairs: Mapping[str, str],
    *,
    method: str = "POST",
    secret_key: str | None = None,
    host: str | None = None,
    encode: Encode = quote_plus,
    changes: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The `Response` to a call that is signed as v1 over `pairs` and `host`.

    What is in `changes` is changed after that, and sent.
    """
    to_sign = string_to_sign_v1(method=method, host=host or caller.host, parameters=pairs)
    sealed = signature_v1(
        secret_key or caller.emulator.secret_key,
        to_sign,
        signature_method=pairs.get("SignatureMethod", ""),
    )
    sent = encoded({**pairs, "Signature": sealed, **(changes or {})}, encode)
    if method == "GET":
        return await send(caller, "GET", sent, headers=headers or {})
    form = {"Content-Type": FORM, **(headers or {})}
    return await send(caller, method, "", body=sent, headers=form)


async def get_tc3(
    caller: Caller,
    action: str,
    query: str = "",
    *,
    signed_query: str | None = None,
    body: str = "",
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The `Response` to a GET that is signed with TC3 over its query, or over another one."""
    timestamp_s = int(caller.clock.now_s)
    date = utc_date(timestamp_s)
    canonical = canonical_request(
        method="GET",
        query=query if signed_query is None else signed_query,
        headers=[("content-type", FORM), ("host", caller.host)],
        payload_sha256=hashlib.sha256(b"").hexdigest(),
    )
    key = derive_signing_key(caller.emulator.secret_key, date)
    sealed = signature(key, string_to_sign(timestamp_s, date, "kms", canonical))
    sent = caller.headers(action, b"")
    scope = sent["Authorization"].partition(", ")[0]
    sent["Authorization"] = f"{scope}, SignedHeaders=content-type;host, Signature={sealed}"
    whole = {**sent, "Content-Type": FORM, **(headers or {})}
    return await send(caller, "GET", query, body=body, headers=whole)


@asynccontextmanager
async def emulated(data_dir: Path, clock: Clock, **options: Any) -> AsyncIterator[Caller]:
    """A caller of an emulator without a quota, with options of its own."""
    emulator = Emulator(data_dir=data_dir, rate_limit=None, clock=clock, ticks=clock, **options)
    async with emulator, calling(emulator, clock) as caller:
        yield caller
