"""Which keys a call is about: what rules and faults are asked with."""

from __future__ import annotations

from typing import Any

from batchkms.emulator.actions import Office
from batchkms.emulator.actions.metadata import CREATOR_UIN
from batchkms.emulator.ciphertext import BadBlob, parse_blob
from batchkms.emulator.policy import NO_KEY


async def key_ids_of(office: Office, parameters: dict[str, Any]) -> list[str]:
    """The ids of the keys that a call names, itself or by a blob; at least NO_KEY.

    `parameters` need not be valid. A blob that no key has made stands for no key.
    """
    named = [parameters.get("KeyId"), parameters.get("DestinationKeyId")]
    many = parameters.get("KeyIds")
    named.extend(many if type(many) is list else ())
    named.append(await _key_id_of_blob(office, parameters.get("CiphertextBlob")))
    return [name for name in named if type(name) is str and name] or [NO_KEY]


def resource_of(office: Office, key_id: str) -> str:
    """A key as the account's policies write it; `*` for a call without one."""
    if key_id == NO_KEY:
        return "*"
    where = f"qcs:id/0:kms:{office.region}:uin/{CREATOR_UIN}"
    return f"{where}:key/creatorUin/{CREATOR_UIN}/{key_id}"


async def _key_id_of_blob(office: Office, blob: object) -> str | None:
    if type(blob) is not str:
        return None
    try:
        held = await office.keys.find_by_handle(parse_blob(blob).handle)
    except BadBlob:
        return None
    return held.key.key_id if held is not None else None
