"""How keys move from one state to another; what may be asked of which is in states.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from batchkms.emulator.actions.base import Action, Handler, Office
from batchkms.emulator.actions.lookup import KEY_IDS, MEMBER_ACCOUNT, changed
from batchkms.emulator.key import DAY_S, ORIGIN_EXTERNAL, Key, KeyState
from batchkms.emulator.parameters import ParameterTable, Whole


def _moving(rule: str, state: KeyState) -> Handler:
    """An action that moves one key, or several at once, into a state."""

    async def move(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
        key_ids = parameters.get("KeyIds") or [parameters["KeyId"]]
        await changed(office, rule, key_ids, lambda key: replace(key, state=state))
        return {}

    return move


async def _schedule_deletion(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    date_s = office.keys.now_s() + parameters["PendingWindowInDays"] * DAY_S
    key_id = parameters["KeyId"]
    await changed(office, "ScheduleKeyDeletion", [key_id], _to_be_deleted(date_s))
    return {"DeletionDate": date_s, "KeyId": key_id}


def _to_be_deleted(date_s: int) -> Callable[[Key], Key]:
    return lambda key: replace(key, state=KeyState.PENDING_DELETE, deletion_s=date_s)


async def _cancel_deletion(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    await changed(office, "CancelKeyDeletion", [parameters["KeyId"]], _not_to_be_deleted)
    return {"KeyId": parameters["KeyId"]}


def _not_to_be_deleted(key: Key) -> Key:
    """The key as it was before: disabled, or still without its material."""
    lacking = key.origin == ORIGIN_EXTERNAL and not key.versions
    state = KeyState.PENDING_IMPORT if lacking else KeyState.DISABLED
    return replace(key, state=state, deletion_s=0)


_ONE = ParameterTable(required={"KeyId": str}, optional={"MemberAccount": MEMBER_ACCOUNT})
_SEVERAL = ParameterTable(required={"KeyIds": KEY_IDS}, optional={"MemberAccount": MEMBER_ACCOUNT})

LIFECYCLE_ACTIONS = (
    Action(name="EnableKey", parameters=_ONE, handle=_moving("EnableKey", KeyState.ENABLED)),
    Action(name="DisableKey", parameters=_ONE, handle=_moving("DisableKey", KeyState.DISABLED)),
    Action(name="EnableKeys", parameters=_SEVERAL, handle=_moving("EnableKey", KeyState.ENABLED)),
    Action(
        name="DisableKeys", parameters=_SEVERAL, handle=_moving("DisableKey", KeyState.DISABLED)
    ),
    Action(name="ArchiveKey", parameters=_ONE, handle=_moving("ArchiveKey", KeyState.ARCHIVED)),
    Action(
        name="CancelKeyArchive",
        parameters=_ONE,
        handle=_moving("CancelKeyArchive", KeyState.ENABLED),
    ),
    Action(
        name="ScheduleKeyDeletion",
        parameters=ParameterTable(
            required={
                "KeyId": str,
                "PendingWindowInDays": Whole(
                    low=7, high=30, code="InvalidParameter.InvalidPendingWindowInDays"
                ),
            },
            optional={"MemberAccount": MEMBER_ACCOUNT},
        ),
        handle=_schedule_deletion,
    ),
    Action(name="CancelKeyDeletion", parameters=_ONE, handle=_cancel_deletion),
)
