"""Where the credentials come from, and how they stay fresh.

The order, first match wins: a profile or file that was asked for; the environment;
`~/.tencentcloud/credentials`; `~/.tccli/<profile>.credential`; the role of the CVM instance.
Nothing here is ever printed: `repr` shows the secret id's first characters at most.
"""

from __future__ import annotations

import asyncio
import configparser
import os
import time
from collections.abc import Callable, Mapping
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

TOKEN_VARIABLES = (
    "TENCENTCLOUD_SESSION_TOKEN",  # the Node SDK
    "TENCENTCLOUD_TOKEN",  # tccli
    "TENCENTCLOUD_SECURITY_TOKEN",  # Terraform
)


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


def find_credentials(
    *,
    profile: str | None = None,
    file: str | None = None,
    environ: Mapping[str, str] | None = None,
    home: Path | None = None,
) -> CredentialSource:
    """The first source of the chain that has credentials.

    `profile` is a section of `~/.tencentcloud/credentials` or a profile of tccli; `file` is
    either kind of file. Neither falls back to another source: what was asked for is used or
    a ConfigError says why not.
    """
    variables = os.environ if environ is None else environ
    folder = Path.home() if home is None else home
    if file is not None:
        return _from_file(Path(file).expanduser(), profile or "default")
    if profile is not None:
        return _from_profile(folder, profile)
    return (
        _from_environment(variables)
        or _from_default_files(folder, variables.get("TCCLI_PROFILE") or "default")
        or CvmRoleCredentials()
    )


def _from_environment(environ: Mapping[str, str]) -> StaticCredentials | None:
    names = ("TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY")
    secret_id, secret_key = (environ.get(name, "").strip() for name in names)
    if not secret_id and not secret_key:
        return None
    if not secret_id or not secret_key:
        missing = names[1] if secret_id else names[0]
        raise ConfigError(
            f"{missing} is not set, though the other half of the pair is",
            hint=f"set {names[0]} and {names[1]} together, or neither",
        )
    tokens = {name: environ[name].strip() for name in TOKEN_VARIABLES if environ.get(name)}
    if len(set(tokens.values())) > 1:
        raise ConfigError(
            f"{' and '.join(tokens)} hold different tokens",
            hint="unset all but the one that belongs to TENCENTCLOUD_SECRET_ID",
        )
    token = next(iter(tokens.values()), None)
    return StaticCredentials(Credentials(secret_id, secret_key, token), "environment")


def _from_default_files(home: Path, tccli_profile: str) -> CredentialSource | None:
    shared = home / ".tencentcloud" / "credentials"
    if _is_file(shared) and "default" in _sections(shared):
        return _from_ini(shared, "default")
    tccli = home / ".tccli" / f"{tccli_profile}.credential"
    return _from_tccli(tccli) if _is_file(tccli) else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be looked at: {error.strerror}",
            hint="check the permissions of the folders above it, or HOME",
        ) from None


def _from_profile(home: Path, profile: str) -> CredentialSource:
    shared = home / ".tencentcloud" / "credentials"
    if _is_file(shared) and profile in _sections(shared):
        return _from_ini(shared, profile)
    tccli = home / ".tccli" / f"{profile}.credential"
    if _is_file(tccli):
        return _from_tccli(tccli)
    raise ConfigError(
        f"there is no profile {profile!r}: neither a section of {shared} nor a file {tccli}",
        hint="check the name, or write the section with secret_id and secret_key",
    )


def _from_file(path: Path, section: str) -> CredentialSource:
    if _text(path).lstrip().startswith("{"):
        return _from_tccli(path)
    return _from_ini(path, section)


def _from_ini(path: Path, section: str) -> StaticCredentials:
    sections = _sections(path)
    if section not in sections:
        known = ", ".join(f"[{name}]" for name in sections) or "no section"
        raise ConfigError(
            f"{path} has no section [{section}]; it has {known}",
            hint="name one with --profile, or add the section",
        )
    # The SDK's own documentation shows quoted values, though its reader keeps the quotes.
    values = {name: value.strip().strip("\"'") for name, value in sections[section].items()}
    return StaticCredentials(
        Credentials(
            _required(values, "secret_id", path, section),
            _required(values, "secret_key", path, section),
            values.get("token") or None,
        ),
        f"{path} [{section}]",
    )


def _required(values: Mapping[str, Any], name: str, path: Path, section: str | None) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not value.strip():
        place = f" in [{section}]" if section else ""
        raise ConfigError(f"{path} has no {name}{place}", hint=f"add {name} to it")
    return value.strip()


def _sections(path: Path) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None, default_section="\0")
    try:
        parser.read_string(_text(path))
    except configparser.Error:
        # The parser's own message quotes the line, which may hold a secret.
        raise ConfigError(
            f"{path} is no valid INI file",
            hint="it should look like: [default], secret_id = …, secret_key = …",
        ) from None
    return {name: dict(parser[name]) for name in parser.sections()}


def _from_tccli(path: Path) -> CredentialSource:
    document = _tccli_document(path)
    kind = document.get("type") or "default"
    if kind == "cvm-role":
        return CvmRoleCredentials()
    if document.get("role-arn"):
        raise ConfigError(
            f"{path} assumes a role (role-arn), which batchkms does not do",
            hint="assume it first and give the temporary credentials in the environment",
        )
    if kind not in ("default", "oauth", "sso"):
        raise ConfigError(
            f"{path} is of the type {kind!r}, which batchkms does not know",
            hint="known are default, cvm-role, oauth and sso",
        )
    return FileCredentials(path, _load_tccli)


def _load_tccli(path: Path) -> Credentials:
    document = _tccli_document(path)
    expires_at = document.get("expiresAt")
    return Credentials(
        _required(document, "secretId", path, None),
        _required(document, "secretKey", path, None),
        document.get("token") or None,
        float(expires_at) if isinstance(expires_at, int | float) else None,
    )


def _tccli_document(path: Path) -> dict[str, Any]:
    try:
        document = orjson.loads(_text(path))
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise ConfigError(
            f"{path} is no valid tccli credential file (a JSON object)",
            hint="write it anew with tccli configure, or give an INI file with a [default] section",
        )
    return document


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigError(
            f"the credentials file {path} cannot be read: {reason}",
            hint="check the path and its permissions",
        ) from None
