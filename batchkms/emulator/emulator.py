"""The emulator as a whole: opens its store, listens, and closes both."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from batchkms.emulator.actions import Office
from batchkms.emulator.auth import Verifier
from batchkms.emulator.credentials import Credential, Credentials, read_credentials
from batchkms.emulator.datadir import default_data_dir, unusable
from batchkms.emulator.front import http_server
from batchkms.emulator.gateway import FailHook, Gateway
from batchkms.emulator.keyring import KeyRing
from batchkms.emulator.stats import Stats
from batchkms.emulator.store import AliasTaken, KeyState, TooManyKeys
from batchkms.errors import ConfigError

DEMO_ALIAS = "batchkms-demo"
DEFAULT_REGION = "ap-guangzhou"
DEFAULT_RATE_LIMIT = 300
KEY_LIMIT = 200
"""CMKs per account and region (documentation 1030/31966)."""

_BACKLOG = 1024
_CLOSE_TIMEOUT_S = 2.0
_NOT_STARTED = "the emulator has not been started"


class Emulator:
    """A KMS on this machine, served by the caller's event loop.

        async with Emulator(data_dir=path) as emulator:
            ...  # emulator.endpoint, .region, .secret_id, .secret_key, .demo_key_id

    `data_dir` holds keys and the credential for later runs. `port` 0 takes any free one.
    `rate_limit` is the quota of Encrypt and Decrypt together, in calls a second; other actions
    have their documented ones; None limits nothing. `clock` gives Unix time and `ticks` seconds
    that never run backwards; both are for tests. `credentials` is a file of further credentials
    (see credentials.py); `allow_any_credentials` takes ids in it that look like real ones.
    `strict` refuses what official clients do and the real gateway does not take. `fail` is for
    tests too: given the name of an action that was authenticated and let through, it may return
    an error code to answer with.

    Entering raises ConfigError if the port, the host or the data directory cannot be used.
    """

    def __init__(
        self,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        rate_limit: int | None = DEFAULT_RATE_LIMIT,
        region: str = DEFAULT_REGION,
        key_limit: int = KEY_LIMIT,
        credentials: str | os.PathLike[str] | None = None,
        allow_any_credentials: bool = False,
        strict: bool = False,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
        fail: FailHook | None = None,
    ) -> None:
        if rate_limit is not None and rate_limit < 1:
            raise ConfigError(
                "the rate limit must be at least 1", hint="give None to let every call through"
            )
        self.data_dir = default_data_dir() if data_dir is None else Path(data_dir)
        self.region = region or DEFAULT_REGION
        self.endpoint = ""
        self.secret_id = ""
        self.secret_key = ""
        self.demo_key_id = ""
        self._host = _loopback(host)
        self._port = _valid_port(port)
        self._rate_limit = rate_limit
        self._clock = clock
        self._ticks = ticks
        self._fail = fail
        self._key_limit = key_limit
        self._strict = strict
        self._allow_any_credentials = allow_any_credentials
        self._more_credentials = (
            read_credentials(Path(credentials), allow_any_credentials=allow_any_credentials)
            if credentials is not None
            else []
        )
        self._keys: KeyRing | None = None
        self._gateway: Gateway | None = None
        self._exit = AsyncExitStack()

    def __repr__(self) -> str:
        return f"Emulator(endpoint={self.endpoint!r}, region={self.region!r})"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            keys = KeyRing(region=self.region, clock=self._clock, key_limit=self._key_limit)
            stack.push_async_callback(keys.aclose)
            try:
                account = await keys.open(self.data_dir)
                self.demo_key_id = await _demo_key(keys)
            except sqlite3.Error as error:  # A full disk, or a damage that shows only now.
                raise unusable(self.data_dir, str(error)) from None
            self.secret_id, self.secret_key = account.secret_id, account.secret_key
            self._keys = keys
            own = Credential(secret_id=account.secret_id, secret_key=account.secret_key)
            known = Credentials(
                [own, *self._more_credentials], allow_any_credentials=self._allow_any_credentials
            )
            self._gateway = Gateway(
                office=Office(keys=keys, rate_limit=self._rate_limit),
                verifier=Verifier(credentials=known, clock=self._clock, strict=self._strict),
                ticks=self._ticks,
                fail=self._fail,
                clock=self._clock,
                strict=self._strict,
            )
            await self._listen(stack, self._gateway)
            self._exit = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._exit.aclose()

    @property
    def stats(self) -> Stats:
        """What was called so far, as `GET /_emulator/stats` tells it."""
        if self._gateway is None:
            raise RuntimeError(_NOT_STARTED)
        return self._gateway.stats

    async def set_key_state(self, key_id: str, state: KeyState) -> None:
        """Moves a key to another state, for tests of what its users do then. Raises KeyError."""
        if self._keys is None:
            raise RuntimeError(_NOT_STARTED)
        await self._keys.set_state(key_id, state)

    async def _listen(self, stack: AsyncExitStack, gateway: Gateway) -> None:
        front = http_server(gateway, strict=self._strict)
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(front, self._host, self._port, backlog=_BACKLOG)
        except OSError as error:
            raise self._cannot_listen(error) from None

        async def close() -> None:
            server.close()
            front.pre_shutdown()
            await front.shutdown(_CLOSE_TIMEOUT_S)
            await server.wait_closed()

        stack.push_async_callback(close)
        port = server.sockets[0].getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.endpoint = f"http://{host}:{port}"

    def _cannot_listen(self, error: OSError) -> ConfigError:
        where = f"{self._host} port {self._port}"
        if error.errno == errno.EADDRINUSE:
            return ConfigError(
                f"{where} is in use by another program",
                hint="choose another port, or 0 for any free one",
            )
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        return ConfigError(f"cannot listen on {where}: {reason}", hint="choose another port")


async def _demo_key(keys: KeyRing) -> str:
    """The id of the key for first steps: made once per store and region, then kept."""
    key = await keys.find_by_alias(DEMO_ALIAS)
    if key is None:
        try:
            key = await keys.create(
                alias=DEMO_ALIAS, description="Made by the batchkms emulator for first steps"
            )
        except AliasTaken:  # Another process has made it just now.
            key = await keys.find_by_alias(DEMO_ALIAS)
        except TooManyKeys:
            raise ConfigError(
                f"region {keys.region} has no demo key and no room for one more key",
                hint="name another directory with --data-dir",
            ) from None
    if key is None:
        raise RuntimeError("the demo key is in the store and cannot be found")
    return key.key_id


def _loopback(host: str) -> str:
    """The address to listen on. Raises ConfigError if others could reach it."""
    if host.lower() == "localhost":
        # The name may mean two addresses, which would get two different free ports.
        return "127.0.0.1"
    try:
        if ipaddress.ip_address(host).is_loopback:
            return host
    except ValueError:
        pass
    raise ConfigError(
        f"the emulator listens on loopback only, and {host or 'an empty host'} is not",
        hint="it speaks plain HTTP, which anybody on the way could read: use 127.0.0.1 or ::1",
    )


def _valid_port(port: int) -> int:
    if not 0 <= port <= 65_535:
        raise ConfigError(
            f"{port} is no port", hint="choose one from 1 to 65535, or 0 for any free one"
        )
    return port
