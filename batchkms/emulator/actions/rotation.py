"""Rotation: a key gets new material, and keeps the old one for what was encrypted under it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from batchkms.emulator.actions.base import Action, Office
from batchkms.emulator.actions.lookup import MEMBER_ACCOUNT, changed, named_key
from batchkms.emulator.apierror import api_error
from batchkms.emulator.key import DAY_S, DEFAULT_ROTATE_DAYS, ENCRYPT_DECRYPT, Key
from batchkms.emulator.keyring import rotated
from batchkms.emulator.parameters import ParameterTable, Whole


async def _enable_rotation(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    days = parameters.get("RotateDays", DEFAULT_ROTATE_DAYS)
    next_s = office.keys.now_s() + days * DAY_S

    def rotating(key: Key) -> Key:
        return replace(key, rotates=True, rotate_days=days, next_rotation_s=next_s)

    await changed(office, "EnableKeyRotation", [parameters["KeyId"]], rotating)
    return {}


async def _disable_rotation(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    key_ids = [parameters["KeyId"]]
    await changed(office, "DisableKeyRotation", key_ids, lambda key: replace(key, rotates=False))
    return {}


async def _rotation_status(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    held = await named_key(office, parameters["KeyId"])
    return {"KeyRotationEnabled": held.key.rotates}


async def _rotate(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    """Rotates at once; the service answers first and rotates then.

    Only a key whose rotation is enabled can be rotated, and once in 24 hours: `errorcodes.py`
    of the official SDK says so of RotateNotSupported and RotateRateLimited.
    """
    now_s = office.keys.now_s()
    material = await office.keys.new_material(ENCRYPT_DECRYPT)

    def rotating(key: Key) -> Key:
        if not key.rotates:
            raise api_error("UnsupportedOperation.RotateNotSupported")
        if key.last_rotation_s and now_s - key.last_rotation_s < DAY_S:
            raise api_error("RequestLimitExceeded.RotateRateLimited")
        return rotated(key, material, now_s)

    await changed(office, "RotateKey", [parameters["KeyId"]], rotating)
    return {"TaskId": office.randomness.request_id()}


_ONE = ParameterTable(required={"KeyId": str}, optional={"MemberAccount": MEMBER_ACCOUNT})

ROTATION_ACTIONS = (
    Action(
        name="EnableKeyRotation",
        parameters=ParameterTable(
            required={"KeyId": str},
            optional={
                "RotateDays": Whole(low=7, high=365, code="InvalidParameterValue"),
                "MemberAccount": MEMBER_ACCOUNT,
            },
        ),
        handle=_enable_rotation,
    ),
    Action(name="DisableKeyRotation", parameters=_ONE, handle=_disable_rotation),
    Action(name="GetKeyRotationStatus", parameters=_ONE, handle=_rotation_status),
    Action(name="RotateKey", parameters=_ONE, handle=_rotate),
)
