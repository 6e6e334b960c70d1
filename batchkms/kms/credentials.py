"""Credentials, and how those that expire stay fresh; `credentialsearch` says where they are found.

Nothing here is ever printed: `repr` shows the secret id's first characters at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from batchkms.errors import ConfigError, CredentialsError

if TYPE_CHECKING:
    import aiohttp

METADATA_URL = "http://metadata.tencentyun.com/latest/meta-data/cam/security-credentials/"
"""Where a CVM instance finds its role. Link-local by design of the cloud, so plain HTTP."""

_MAX_METADATA_BYTES = 65_536

REFRESH_BEFORE_S = 300.0
"""Temporary credentials are renewed this long before they expire, as the official SDKs do."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signs a request. `token` and `expires_at` (Unix time) only if temporary.

    Raises ConfigError for a value that no HTTP header can carry.
    """

    secret_id: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires_at: float | None = None

    def __post_init__(self) -> None:
        values = {"secret id": self.secret_id, "secret key": self.secret_key, "token": self.token}
        for name, value in values.items():
            if value and not (value.isascii() and value.isprintable()):
                raise ConfigError(
                    f"the {name} holds a character that no credential has",
                    hint="copy it again, without line breaks or typographic quotes",
                )

    def __repr__(self) -> str:
        return f"Credentials(secret_id='{self.secret_id[:4]}…', temporary={self.token is not None})"


class CredentialSource(Protocol):
    """Gives credentials that are valid now."""

    @property
    def origin(self) -> str:
        """Where they come from, for messages: `environment`, a file, `CVM role`."""

    async def credentials(self) -> Credentials:
        """Credentials to sign with now. Raises CredentialsError."""

    async def aclose(self) -> None:
        """Ends whatever refreshes them."""


@dataclass(frozen=True, slots=True)
class StaticCredentials:
    """Credentials that do not change."""

    value: Credentials
    origin: str = "the caller"

    async def credentials(self) -> Credentials:
        """The credentials."""
        return self.value

    async def aclose(self) -> None:
        """Nothing to end."""


class FileCredentials:
    """Temporary credentials that another tool keeps fresh in a file (`tccli auth login`).

    The file is read again when the ones in hand are about to expire.
    """

    def __init__(
        self,
        path: Path,
        load: Callable[[Path], Credentials],
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.origin = str(path)
        self._path = path
        self._load = load
        self._wall_clock = wall_clock
        self._value = load(path)
        self._next_look = 0.0

    async def credentials(self) -> Credentials:
        """The newest credentials of the file. Raises CredentialsError once they expired."""
        now, expires_at = self._wall_clock(), self._value.expires_at
        if expires_at is None or now < expires_at - REFRESH_BEFORE_S:
            return self._value
        if now >= min(self._next_look, expires_at):
            self._next_look = now + 10.0
            with suppress(ConfigError):
                self._value = await asyncio.to_thread(self._load, self._path)
        if self._value.expires_at is not None and now >= self._value.expires_at:
            raise CredentialsError(
                "CredentialsExpired",
                f"the temporary credentials in {self._path} have expired",
                hint="log in again (tccli auth login), then go on with the run",
            )
        return self._value

    async def aclose(self) -> None:
        """Nothing to end."""


class CvmRoleCredentials:
    """The role of the CVM instance, renewed in the background before it expires.

    One request is in flight at a time, whoever waits for it. While the credentials in hand
    are still valid, nobody waits, and a failed renewal is tried again later.
    """

    origin = "CVM role"

    def __init__(
        self,
        *,
        url: str = METADATA_URL,
        timeout_s: float = 2.0,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._wall_clock = wall_clock
        self._value: Credentials | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._next_try = 0.0

    async def credentials(self) -> Credentials:
        """The role's credentials. Raises CredentialsError when there are none."""
        now = self._wall_clock()
        value = self._value
        if value is None or value.expires_at is None or now >= value.expires_at:
            await asyncio.shield(self._renew())
            value = self._value
            if value is None:
                raise AssertionError("a renewal ends with credentials or an error")
            return value
        if now >= value.expires_at - REFRESH_BEFORE_S and now >= self._next_try:
            self._next_try = now + 10.0
            self._renew().add_done_callback(_retrieve)
        return value

    async def aclose(self) -> None:
        """Ends a renewal that is under way."""
        if self._renewal is not None and not self._renewal.done():
            self._renewal.cancel()
            with suppress(asyncio.CancelledError, CredentialsError):
                await self._renewal

    def _renew(self) -> asyncio.Task[None]:
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._fetch())
        return self._renewal

    async def _fetch(self) -> None:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        try:
            async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
                role = (await _get(session, self._url)).decode().strip()
                document = orjson.loads(await _get(session, self._url + role))
            self._value = Credentials(
                secret_id=_text_member(document, "TmpSecretId"),
                secret_key=_text_member(document, "TmpSecretKey"),
                token=_text_member(document, "Token"),
                expires_at=float(document["ExpiredTime"]),
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError):
            # What went wrong in detail would quote an address or an answer with a secret.
            raise CredentialsError(
                "NoCredentials",
                "no credentials were found, and this machine has no CVM role to take them from",
                hint="set TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY, or use --profile "
                "or --credentials; to try without an account, use --emulator",
            ) from None


async def _get(session: aiohttp.ClientSession, url: str) -> bytes:
    async with session.get(url, allow_redirects=False) as response:
        response.raise_for_status()
        body = bytearray()
        async for part in response.content.iter_any():
            body += part
            if len(body) > _MAX_METADATA_BYTES:
                raise ValueError("too long for an answer of the metadata server")
        return bytes(body)


def _text_member(document: Any, name: str) -> str:
    value = document[name]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is no text")
    return value


def _retrieve(task: asyncio.Task[None]) -> None:
    # A failed renewal in the background is not news: the next call that needs it will tell.
    if not task.cancelled():
        task.exception()
