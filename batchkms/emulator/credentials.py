"""Whom the emulator knows: its own credential and those of `--credentials FILE`.

The file is TOML, or JSON of the same shape if its name ends in `.json`:

    [[credentials]]
    secret_id = "billing"
    secret_key = "any text"
    token = "any text"                 # makes it a temporary one
    expires = 2030-01-01T00:00:00Z     # or a Unix time
    account = "team-b"                 # has quotas of its own; by default the emulator's account
    [[credentials.rules]]              # without rules everything is allowed
    effect = "allow"                   # or "deny", which beats "allow"
    actions = ["Encrypt", "List*"]
    keys = ["93866e69-*"]              # optional; calls without a key need "*"
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from batchkms.emulator.policy import Rule, rule, speaks_of
from batchkms.errors import ConfigError

_LIVE_LOOKING = re.compile(r"AKID[A-Za-z0-9_-]{32,}", re.ASCII)
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(?P<name>.*?)`")

_Text = Annotated[str, Meta(min_length=1)]
_Texts = Annotated[list[_Text], Meta(min_length=1)]
# An id stands between other texts in the Authorization header.
_SecretId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,256}\Z")]


def looks_live(secret_id: str) -> bool:
    """Whether an id could be one of a real account: `AKID` and 32 characters or more."""
    return _LIVE_LOOKING.fullmatch(secret_id) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A pair of id and key. With a token it is temporary; `expires_s` is a Unix time.

    Credentials of one `account` share its quotas; all of them share the keys.
    """

    secret_id: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires_s: float | None = None
    rules: tuple[Rule, ...] = ()
    account: str = ""


class Credentials:
    """All credentials of one emulator, by id."""

    def __init__(
        self, known: Iterable[Credential] = (), *, allow_any_credentials: bool = False
    ) -> None:
        """Raises ConfigError if two have the same id."""
        self.allow_any_credentials = allow_any_credentials
        self._by_id: dict[str, Credential] = {}
        for credential in known:
            if credential.secret_id in self._by_id:
                raise ConfigError(
                    "two of the emulator's credentials have the same secret_id",
                    hint="give each one an id of its own",
                )
            self._by_id[credential.secret_id] = credential

    def find(self, secret_id: str) -> Credential | None:
        """The credential of this id."""
        return self._by_id.get(secret_id)

    def refuses(self, secret_id: str) -> bool:
        """Whether an unknown id is to be refused as one of a real account."""
        return not self.allow_any_credentials and looks_live(secret_id)


class _RuleEntry(msgspec.Struct, forbid_unknown_fields=True):
    effect: Literal["allow", "deny"]
    actions: _Texts
    keys: _Texts = msgspec.field(default_factory=lambda: ["*"])


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    secret_id: _SecretId
    secret_key: _Text
    token: _Text | None = None
    expires: Annotated[datetime, Meta(tz=True)] | float | None = None
    rules: list[_RuleEntry] = msgspec.field(default_factory=list)
    account: str = ""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    credentials: Annotated[list[_Entry], Meta(min_length=1)]


def read_credentials(path: Path, *, allow_any_credentials: bool = False) -> list[Credential]:
    """The credentials in a file. Raises ConfigError, in which no secret is quoted."""
    try:
        entries = msgspec.convert(_parsed(path), _File).credentials
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}", hint=_nearest(str(error))) from None
    if not allow_any_credentials and any(looks_live(entry.secret_id) for entry in entries):
        raise ConfigError(
            f"{path}: a secret_id looks like one of a real account",
            hint="make up ids of your own for the emulator, or give --allow-any-credentials",
        )
    return [_credential(path, entry) for entry in entries]


def _credential(path: Path, entry: _Entry) -> Credential:
    if entry.expires is not None and entry.token is None:
        raise ConfigError(
            f"{path}: the credential {entry.secret_id} expires and has no token",
            hint="temporary credentials have a token: add `token`, or leave `expires` out",
        )
    for each in entry.rules:
        for action in each.actions:
            _check_action(path, entry.secret_id, action)
    expires = entry.expires
    return Credential(
        secret_id=entry.secret_id,
        secret_key=entry.secret_key,
        token=entry.token,
        expires_s=expires.timestamp() if isinstance(expires, datetime) else expires,
        account=entry.account,
        rules=tuple(
            rule(effect=each.effect, actions=each.actions, keys=each.keys) for each in entry.rules
        ),
    )


def _parsed(path: Path) -> Any:
    try:
        text = path.read_bytes().decode()
        return json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(
            f"the credentials file {path} cannot be read: {error.strerror}",
            hint="name a file that exists and that you may read",
        ) from None
    except (ValueError, RecursionError) as error:
        # What the parsers say of a text that is none quotes nothing of it.
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise ConfigError(
            f"{path}: {reason}", hint="the file is TOML, or JSON if its name ends in .json"
        ) from None


def _nearest(problem: str) -> str:
    unknown = _UNKNOWN_FIELD.search(problem)
    if unknown is None:
        return (
            "each of [[credentials]] takes secret_id, secret_key, token, expires, account and rules"
        )
    near = difflib.get_close_matches(unknown["name"], list(_field_names()), n=1, cutoff=0.0)
    return f"the nearest name is {near[0]!r}"


def _field_names() -> Iterator[str]:
    for struct in (_File, _Entry, _RuleEntry):
        yield from struct.__struct_fields__


def _check_action(path: Path, secret_id: str, written: str) -> None:
    """A name that no action has would deny, or allow, nothing at all. Raises ConfigError."""
    from batchkms.emulator.actions import ACTIONS

    if any(speaks_of(written, name) for name in ACTIONS):
        return
    near = difflib.get_close_matches(written.rpartition(":")[2], ACTIONS, n=1, cutoff=0.0)
    raise ConfigError(
        f"{path}: a rule of {secret_id} names {written!r}, and no action is called so",
        hint=f"the nearest name is {near[0]!r}; capitals count, * stands for any letters",
    )
