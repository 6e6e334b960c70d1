"""CreateKey, and what changes how a key is named: UpdateAlias and UpdateKeyDescription."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from batchkms.emulator.actions.base import Action, Office
from batchkms.emulator.actions.lookup import HSM_CLUSTER, MEMBER_ACCOUNT, changed
from batchkms.emulator.actions.tags import read_tags
from batchkms.emulator.apierror import api_error
from batchkms.emulator.key import ENCRYPT_DECRYPT, USAGES
from batchkms.emulator.parameters import ParameterTable, Text, Whole
from batchkms.emulator.store import AliasTaken, TooManyKeys

_TYPE_KMS, _TYPE_EXTERNAL = 1, 2

_OTHER_USAGES = (
    "ASYMMETRIC_DECRYPT_SM2",
    "ASYMMETRIC_SIGN_VERIFY_SM2",
    "ASYMMETRIC_SIGN_VERIFY_ECC",
    "ASYMMETRIC_SIGN_VERIFY_RSA_2048",
    "ASYMMETRIC_SIGN_VERIFY_ECDSA384",
)
KEY_USAGES = (*USAGES, *_OTHER_USAGES)

# The prefix `kms-` is kept for other products of the cloud.
ALIAS = Text(
    pattern=re.compile(r"(?!kms-)[A-Za-z0-9][A-Za-z0-9_-]{0,59}", re.ASCII),
    code="InvalidParameterValue.InvalidAlias",
)
DESCRIPTION = Text(max_bytes=1024)


async def _create_key(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    usage = parameters.get("KeyUsage") or ENCRYPT_DECRYPT
    external = parameters.get("Type", _TYPE_KMS) == _TYPE_EXTERNAL
    if usage not in USAGES:
        raise api_error("UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion")
    if external and usage != ENCRYPT_DECRYPT:
        raise api_error("InvalidParameterValue.InvalidType")
    try:
        key = await office.keys.create(
            alias=parameters["Alias"],
            description=parameters.get("Description", ""),
            usage=usage,
            external=external,
            tags=read_tags(parameters.get("Tags", [])),
        )
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


async def _update_alias(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    alias = parameters["Alias"]
    key_ids = [parameters["KeyId"]]
    try:
        await changed(office, "UpdateAlias", key_ids, lambda key: replace(key, alias=alias))
    except AliasTaken:
        raise api_error("InvalidParameterValue.AliasAlreadyExists") from None
    return {}


async def _update_description(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    text = parameters["Description"]
    key_ids = [parameters["KeyId"]]
    await changed(
        office, "UpdateKeyDescription", key_ids, lambda key: replace(key, description=text)
    )
    return {}


KEY_ACTIONS = (
    Action(
        name="CreateKey",
        parameters=ParameterTable(
            required={"Alias": ALIAS},
            optional={
                "Description": DESCRIPTION,
                "KeyUsage": Text(
                    one_of=("", *KEY_USAGES), code="InvalidParameterValue.InvalidKeyUsage"
                ),
                "Type": Whole(
                    low=_TYPE_KMS,
                    high=_TYPE_EXTERNAL,
                    code="InvalidParameterValue.InvalidType",
                ),
                "Tags": list,
                "HsmClusterId": HSM_CLUSTER,
            },
        ),
        handle=_create_key,
    ),
    Action(
        name="UpdateAlias",
        parameters=ParameterTable(
            required={"Alias": ALIAS, "KeyId": str}, optional={"MemberAccount": MEMBER_ACCOUNT}
        ),
        handle=_update_alias,
    ),
    Action(
        name="UpdateKeyDescription",
        parameters=ParameterTable(
            required={"Description": DESCRIPTION, "KeyId": str},
            optional={"MemberAccount": MEMBER_ACCOUNT},
        ),
        handle=_update_description,
    ),
)
