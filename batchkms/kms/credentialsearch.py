"""Where credentials are found.

The order, first match wins: a profile or file that was asked for; the environment;
`~/.tencentcloud/credentials`; `~/.tccli/<profile>.credential`; the role of the CVM instance.
No message here repeats what a file or a variable holds.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from batchkms.errors import ConfigError
from batchkms.kms.credentials import (
    Credentials,
    CredentialSource,
    CvmRoleCredentials,
    FileCredentials,
    StaticCredentials,
)

TOKEN_VARIABLES = (
    "TENCENTCLOUD_SESSION_TOKEN",  # the Node SDK
    "TENCENTCLOUD_TOKEN",  # tccli
    "TENCENTCLOUD_SECURITY_TOKEN",  # Terraform
)


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
