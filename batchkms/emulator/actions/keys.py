"""CreateKey, DescribeKey and ListKeys."""

from __future__ import annotations

import re
from typing import Any

from batchkms.emulator.actions.base import Action, Office
from batchkms.emulator.actions.lookup import named_key
from batchkms.emulator.apierror import api_error, bad_format, unsupported
from batchkms.emulator.keyring import ENCRYPT_DECRYPT
from batchkms.emulator.parameters import ParameterTable
from batchkms.emulator.store import AliasTaken, Key, KeyState, TooManyKeys

CREATOR_UIN = 100000000001
"""The account that owns every key; obviously made up."""

_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}", re.ASCII)
_RESERVED_PREFIX = "kms-"
_MAX_DESCRIPTION_BYTES = 1024
_ROTATION_S = 31_536_000
_LISTED_STATES = {KeyState.ENABLED, KeyState.DISABLED, KeyState.PENDING_IMPORT}
_DEFAULT_LIMIT = 10
_MAX_LIMIT = 200
_TYPE_KMS, _TYPE_EXTERNAL = 1, 2

_OTHER_USAGES = {
    "ASYMMETRIC_DECRYPT_RSA_2048",
    "ASYMMETRIC_DECRYPT_SM2",
    "ASYMMETRIC_SIGN_VERIFY_SM2",
    "ASYMMETRIC_SIGN_VERIFY_ECC",
    "ASYMMETRIC_SIGN_VERIFY_RSA_2048",
    "ASYMMETRIC_SIGN_VERIFY_ECDSA384",
}


async def _create_key(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    alias, description = parameters["Alias"], parameters.get("Description", "")
    _check_new_key(alias, description, parameters)
    try:
        key = await office.keys.create(alias=alias, description=description)
    except AliasTaken:
        raise api_error("InvalidParameterValue.AliasAlreadyExists") from None
    except TooManyKeys:
        raise api_error("LimitExceeded.CmkLimitExceeded") from None
    return {
        "KeyId": key.key_id,
        "Alias": key.alias,
        "CreateTime": key.created_s,
        "Description": key.description,
        "KeyState": key.state,
        "KeyUsage": key.usage,
        "TagCode": 0,
        "TagMsg": "",
        "HsmClusterId": "",
    }


def _check_new_key(alias: str, description: str, parameters: dict[str, Any]) -> None:
    if not _ALIAS.fullmatch(alias) or alias.startswith(_RESERVED_PREFIX):
        raise api_error("InvalidParameterValue.InvalidAlias")
    if len(description.encode()) > _MAX_DESCRIPTION_BYTES:
        raise bad_format("Description")
    usage = parameters.get("KeyUsage", "") or ENCRYPT_DECRYPT
    if usage in _OTHER_USAGES:
        raise api_error("UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion")
    if usage != ENCRYPT_DECRYPT:
        raise api_error("InvalidParameterValue.InvalidKeyUsage")
    key_type = parameters.get("Type", _TYPE_KMS)
    if key_type == _TYPE_EXTERNAL:
        raise unsupported("This emulator does not take key material of yours (Type 2).")
    if key_type != _TYPE_KMS:
        raise api_error("InvalidParameterValue.InvalidType")
    if parameters.get("Tags"):
        raise unsupported("This emulator keeps no Tags.")
    _refuse_cluster(parameters)


def _refuse_cluster(parameters: dict[str, Any]) -> None:
    """The account has no HSM cluster of its own, so that no cluster id is a valid one."""
    if parameters.get("HsmClusterId"):
        raise api_error("InvalidParameterValue.InvalidHsmClusterId")


async def _describe_key(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    if parameters.get("MemberAccount"):
        raise api_error("UnsupportedOperation.NotRoleOperation")
    held = await named_key(office, parameters["KeyId"])
    return {"KeyMetadata": key_metadata(held.key)}


def key_metadata(key: Key) -> dict[str, Any]:
    """A key as KeyMetadata shows it. NextRotateTime is there though rotation is off: it is so
    in the service's own examples."""
    return {
        "KeyId": key.key_id,
        "Alias": key.alias,
        "CreateTime": key.created_s,
        "Description": key.description,
        "KeyState": key.state,
        "KeyUsage": key.usage,
        "Type": 2,
        "CreatorUin": CREATOR_UIN,
        "KeyRotationEnabled": False,
        "Owner": "user",
        "NextRotateTime": key.created_s + _ROTATION_S,
        "DeletionDate": 0,
        "Origin": "TENCENT_KMS",
        "ValidTo": 0,
        "ResourceId": f"creatorUin/{CREATOR_UIN}/{key.key_id}",
        "HsmClusterId": "",
    }


async def _list_keys(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    offset, limit = parameters.get("Offset", 0), parameters.get("Limit", _DEFAULT_LIMIT)
    if offset < 0:
        raise bad_format("Offset")
    if not 1 <= limit <= _MAX_LIMIT:
        raise bad_format("Limit")
    role = parameters.get("Role", 0)
    if role not in (0, 1):
        raise bad_format("Role")
    _refuse_cluster(parameters)
    await office.keys.refresh()
    # Role 1 asks for the keys that other cloud products made: there are none.
    keys = [] if role else [key for key in office.keys.all_keys() if key.state in _LISTED_STATES]
    page = [{"KeyId": key.key_id} for key in keys[offset : offset + limit]]
    return {"Keys": page, "TotalCount": len(keys)}


KEY_ACTIONS = (
    Action(
        name="CreateKey",
        parameters=ParameterTable(
            required={"Alias": str},
            optional={
                "Description": str,
                "KeyUsage": str,
                "Type": int,
                "Tags": list,
                "HsmClusterId": str,
            },
        ),
        handle=_create_key,
    ),
    Action(
        name="DescribeKey",
        parameters=ParameterTable(required={"KeyId": str}, optional={"MemberAccount": dict}),
        handle=_describe_key,
    ),
    Action(
        name="ListKeys",
        parameters=ParameterTable(
            optional={"Offset": int, "Limit": int, "Role": int, "HsmClusterId": str}
        ),
        handle=_list_keys,
    ),
)
