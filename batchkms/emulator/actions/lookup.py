"""How actions find the keys that a call names, and change them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from batchkms.emulator.actions.base import Office
from batchkms.emulator.apierror import ApiError, api_error
from batchkms.emulator.key import Key
from batchkms.emulator.keyring import HeldKey
from batchkms.emulator.parameters import Absent, Texts
from batchkms.emulator.states import allow
from batchkms.emulator.store import KeyMissing

KEY_IDS = Texts(at_least=1, at_most=100, twice="InvalidParameterValue.DuplicatedKeyId")
"""The list of keys of the actions that take one."""

MEMBER_ACCOUNT = Absent(of=dict, code="UnsupportedOperation.NotRoleOperation")
"""The account is no administrator of others, so that no other one can be named."""

HSM_CLUSTER = Absent(of=str, code="InvalidParameterValue.InvalidHsmClusterId")
"""The account has no HSM cluster of its own, so that no id of one is valid."""

_KEY_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


async def named_key(office: Office, key_id: str) -> HeldKey:
    """The key of this id, in any state. Raises ApiError."""
    held = await office.keys.find(key_id)
    if held is None:
        raise no_such_key(key_id)
    return held


def no_such_key(key_id: str) -> ApiError:
    """A text that can be no id is InvalidKeyId; an id that no key has is CmkNotFound."""
    if _KEY_ID.fullmatch(key_id):
        return api_error("ResourceUnavailable.CmkNotFound")
    return api_error("InvalidParameterValue.InvalidKeyId")


async def changed(
    office: Office, action: str, key_ids: Sequence[str], change: Callable[[Key], Key]
) -> list[Key]:
    """Keys after an action has changed them: all of them or, on an error, none.

    Whether the action may be asked of a key is judged by the key as it is on disk. Raises
    ApiError.
    """

    def checked(key: Key) -> Key:
        allow(action, key)
        return change(key)

    # What has fallen due is done first: a key whose date has come is not there any more.
    await office.keys.refresh()
    try:
        return await office.keys.change(key_ids, checked)
    except KeyMissing as missing:
        raise no_such_key(str(missing)) from None
