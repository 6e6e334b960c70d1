"""How actions find the key that a call names."""

from __future__ import annotations

import re

from batchkms.emulator.actions.base import Office
from batchkms.emulator.apierror import api_error
from batchkms.emulator.keyring import HeldKey

_KEY_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


async def named_key(office: Office, key_id: str) -> HeldKey:
    """The key of this id, in any state. Raises ApiError.

    A text that can be no id is InvalidKeyId; an id that no key has is CmkNotFound.
    """
    held = await office.keys.find(key_id)
    if held is not None:
        return held
    if _KEY_ID.fullmatch(key_id):
        raise api_error("ResourceUnavailable.CmkNotFound")
    raise api_error("InvalidParameterValue.InvalidKeyId")
