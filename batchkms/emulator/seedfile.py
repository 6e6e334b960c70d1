"""Keys that an emulator has from the start: `--seed-file FILE`, in TOML.

    [[keys]]
    id = "11111111-1111-1111-8111-111111111111"
    alias = "orders"
    description = "for orders"            # optional, as all that follows
    usage = "ENCRYPT_DECRYPT"             # or "ASYMMETRIC_DECRYPT_RSA_2048"
    state = "Enabled"                     # or Disabled, Archived, PendingDelete, PendingImport
    material = "AAECAw…"                  # base64 of 32 bytes, or of an RSA key (PKCS #8, DER)
    derive = "any text"                   # instead of material: made from this text
    created = 2024-01-01T00:00:00Z        # dates may be Unix times too
    rotate_days = 90                      # turns rotation on
    deletion = 2030-01-01T00:00:00Z       # of a key that is PendingDelete
    tags = { team = "payments" }

Without `material` and `derive` the material is made from the id, so that the same file gives the
same keys everywhere: what one emulator has encrypted, another one decrypts. Whoever has the file
has the keys.
"""

from __future__ import annotations

import difflib
import hmac
import re
import tomllib
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
from msgspec import Meta

from batchkms.emulator.ciphertext import MATERIAL_BYTES, decode_base64
from batchkms.emulator.key import (
    DAY_S,
    DEFAULT_ROTATE_DAYS,
    ENCRYPT_DECRYPT,
    ORIGIN_EXTERNAL,
    ORIGIN_KMS,
    RSA_DECRYPT,
    Key,
    KeyState,
)
from batchkms.emulator.keyring import KeyRing
from batchkms.emulator.rsa import derived_private_key, is_private_key
from batchkms.emulator.store import AliasTaken, KeyIdTaken, TooManyKeys
from batchkms.errors import ConfigError

CREATED_S = 1_700_000_000
"""When a key was made if the file does not say: always the same, as all else in it."""

_Date = Annotated[datetime, Meta(tz=True)] | Annotated[int, Meta(ge=0, lt=2**40)]


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
    alias: Annotated[str, Meta(pattern=r"^(?!kms-)[A-Za-z0-9][A-Za-z0-9_-]{0,59}\Z")]
    description: Annotated[str, Meta(max_length=1024)] = ""
    usage: str = ENCRYPT_DECRYPT
    state: KeyState = KeyState.ENABLED
    material: str | None = None
    derive: str | None = None
    created: _Date = CREATED_S
    rotate_days: Annotated[int, Meta(ge=7, le=365)] | None = None
    deletion: _Date = 0
    tags: dict[str, str] = msgspec.field(default_factory=dict)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[_Entry] = msgspec.field(default_factory=list)


_WRITE = {
    "id": 'write a UUID in lower case: id = "11111111-1111-1111-8111-111111111111"',
    "alias": "write 1 to 60 letters, digits, - and _, the first a letter or digit, not kms-…",
    "description": "write a text of at most 1,024 bytes",
    "usage": f'write usage = "{ENCRYPT_DECRYPT}" or "{RSA_DECRYPT}"',
    "state": f"write one of {', '.join(KeyState)}",
    "material": f"write base64 of {MATERIAL_BYTES} bytes, or of an RSA key of 2,048 bits as "
    "PKCS #8 in DER; or leave it out",
    "derive": "write any text, or leave it out",
    "created": "write created = 2024-01-01T00:00:00Z, or a Unix time",
    "rotate_days": "write a number of days from 7 to 365, or leave it out",
    "deletion": "write deletion = 2030-01-01T00:00:00Z, or a Unix time",
    "tags": 'write tags = { team = "payments" }',
}
_KEYS = "write each key under a line [[keys]]"
_PLACE = re.compile(r"(?P<what>.*?)(?: - at `\$\.keys(?:\[(?P<index>\d+)\])?\.?(?P<name>\w+)?.*)?")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`")
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")


def read_seed_file(path: Path) -> list[Key]:
    """The keys in a seed file. Raises ConfigError, which names file, key and what to write.

    No material is quoted.
    """
    try:
        entries = msgspec.convert(_parsed(path), _File).keys
    except msgspec.ValidationError as error:
        _refuse_shape(path, str(error))
    keys = [_key(path, number, entry) for number, entry in enumerate(entries, start=1)]
    for name in ("key_id", "alias"):
        _refuse_twice(path, name.removeprefix("key_"), [getattr(key, name) for key in keys])
    return keys


def _parsed(path: Path) -> object:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"the seed file {path} cannot be read: {error.strerror}",
            hint="name a file of keys in TOML",
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"the seed file {path} is no UTF-8", hint="save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"the seed file {path} is no TOML: {error}", hint=_KEYS) from None


def _key(path: Path, number: int, entry: _Entry) -> Key:
    if entry.usage not in (ENCRYPT_DECRYPT, RSA_DECRYPT):
        _refuse(path, number, "usage", "the emulator does not have it")
    if len(entry.description.encode()) > 1024:
        _refuse(path, number, "description", "it is too long")
    if entry.rotate_days is not None and entry.usage != ENCRYPT_DECRYPT:
        _refuse(path, number, "rotate_days", "an RSA key does not rotate")
    external = entry.state is KeyState.PENDING_IMPORT
    created_s = _seconds(entry.created)
    days = entry.rotate_days or DEFAULT_ROTATE_DAYS
    return Key(
        key_id=entry.id,
        alias=entry.alias,
        description=entry.description,
        state=entry.state,
        usage=entry.usage,
        origin=ORIGIN_EXTERNAL if external else ORIGIN_KMS,
        created_s=created_s,
        versions=() if external else (_material(path, number, entry),),
        rotates=entry.rotate_days is not None,
        rotate_days=days,
        next_rotation_s=created_s + days * DAY_S,
        deletion_s=_seconds(entry.deletion),
        tags=tuple(entry.tags.items()),
    )


def _material(path: Path, number: int, entry: _Entry) -> bytes:
    if entry.material is None:
        text = entry.id if entry.derive is None else entry.derive
        secret = hmac.digest(b"batchkms emulator seed file", text.encode(), "sha256")
        return secret if entry.usage == ENCRYPT_DECRYPT else derived_private_key(secret)
    if entry.derive is not None:
        _refuse(path, number, "derive", "there is material already")
    material = decode_base64(entry.material)
    if material is None:
        _refuse(path, number, "material", "it is no base64")
    if entry.usage == ENCRYPT_DECRYPT and len(material) != MATERIAL_BYTES:
        _refuse(path, number, "material", f"it is of {len(material)} bytes")
    if entry.usage == RSA_DECRYPT and not is_private_key(material):
        _refuse(path, number, "material", "it is no such RSA key")
    return material


def _seconds(date: datetime | int) -> int:
    return date if isinstance(date, int) else int(date.timestamp())


def _refuse_twice(path: Path, name: str, values: list[str]) -> None:
    for number, value in enumerate(values, start=1):
        if value in values[: number - 1]:
            first = values.index(value) + 1
            raise ConfigError(
                f"seed file {path}, key {number}, {name}: key {first} has the same",
                hint=f"give each key an {name} of its own",
            )


def _refuse_shape(path: Path, message: str) -> NoReturn:
    """Raises ConfigError for what msgspec found, in words of the file."""
    place = _PLACE.fullmatch(message)
    what = place["what"] if place else message
    if not place or place["index"] is None:
        raise ConfigError(f"seed file {path}: {_lowered(what)}", hint=_KEYS)
    number, name = int(place["index"]) + 1, place["name"]
    unknown, missing = _UNKNOWN.fullmatch(what), _MISSING.fullmatch(what)
    if unknown:
        near = difflib.get_close_matches(unknown["name"], _WRITE, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the names are {', '.join(_WRITE)}"
        raise ConfigError(
            f"seed file {path}, key {number}: {unknown['name']} is not known", hint=hint
        )
    if missing:
        _refuse(path, number, missing["name"], "it is missing")
    _refuse(path, number, name or "", _lowered(what))


def _refuse(path: Path, number: int, name: str, reason: str) -> NoReturn:
    where = f"seed file {path}, key {number}" + (f", {name}" if name else "")
    raise ConfigError(f"{where}: {reason}", hint=_WRITE.get(name, _KEYS))


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _rotating_from(key: Key, now_s: int) -> Key:
    """The key with its next rotation ahead, whole periods after its creation.

    Else a key that the file says is old would lose its material of the file at once.
    """
    period_s = key.rotate_days * DAY_S
    periods = max(1, (now_s - key.created_s) // period_s + 1)
    return replace(key, next_rotation_s=key.created_s + periods * period_s)


async def plant_seed_file(keys: KeyRing, path: Path) -> None:
    """Gives a key ring the keys of a seed file, as far as its store lacks them.

    A key that is there is left as calls have made it; a reset brings it back to what the file
    says. Raises ConfigError.
    """
    for key in read_seed_file(path):
        try:
            await keys.plant(_rotating_from(key, keys.now_s()) if key.rotates else key)
        except (AliasTaken, KeyIdTaken, TooManyKeys) as error:
            reason = {
                AliasTaken: f"another key has the alias {key.alias}",
                KeyIdTaken: "another region has a key of this id",
                TooManyKeys: f"region {keys.region} holds {keys.key_limit} keys already, its limit",
            }[type(error)]
            raise ConfigError(
                f"seed file {path}, key {key.key_id}: the store has no room for it, {reason}",
                hint="name another directory with --data-dir, or change the seed file",
            ) from None
