"""What the account and the region have: GetServiceStatus, GetRegions and ListAlgorithms."""

from __future__ import annotations

from typing import Any

from batchkms.emulator.actions.base import Action, Office
from batchkms.emulator.key import ENCRYPT_DECRYPT, RSA_DECRYPT, KeyState
from batchkms.emulator.parameters import ParameterTable

LARGEST_TIER_PER_SECOND = 30_000
"""What is reported where nothing is limited: the most that can be bought (573/131380)."""

_INVALID_TYPE_OK = 1
_USER_LEVEL_NORMAL = 0


async def _get_service_status(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    per_second = office.rate_limit or LARGEST_TIER_PER_SECOND
    await office.keys.refresh()
    counted = [key for key in office.keys.all_keys() if key.state is not KeyState.PENDING_DELETE]
    return {
        "ServiceEnabled": True,
        "InvalidType": _INVALID_TYPE_OK,
        "UserLevel": _USER_LEVEL_NORMAL,
        "ProExpireTime": 0,
        "ProRenewFlag": 0,
        "ProResourceId": "",
        "ExclusiveVSMEnabled": False,
        "ExclusiveHSMEnabled": False,
        "SubscriptionInfo": "",
        "CmkUserCount": len(counted),
        "CmkLimit": office.keys.key_limit,
        "ExclusiveHSMList": [],
        "IsAllowedDataKeyHosted": False,
        "DataKeyLimit": 0,
        "FreeDataKeyLimit": 0,
        "DataKeyUsedCount": 0,
        "SyncTaskList": [],
        "IsAllowedSync": False,
        "QpsLimit": per_second,
        "QpsTotalLimit": per_second,
        "RegionsQps": [{"Region": office.region, "Qps": per_second}],
        "MultiAccountLimit": 0,
        "MultiAccountUsedCount": 0,
    }


async def _get_regions(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"Regions": [office.region]}


async def _list_algorithms(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    """What keys can be made of here. A region inside China would have SM4 and SM2 as well."""
    return {
        "SymmetricAlgorithms": [{"KeyUsage": ENCRYPT_DECRYPT, "Algorithm": "AES_256"}],
        "AsymmetricAlgorithms": [{"KeyUsage": RSA_DECRYPT, "Algorithm": "RSA_2048"}],
        "AsymmetricSignVerifyAlgorithms": [],
    }


STATUS_ACTIONS = tuple(
    Action(name=name, parameters=ParameterTable(), handle=handle)
    for name, handle in (
        ("GetServiceStatus", _get_service_status),
        ("GetRegions", _get_regions),
        ("ListAlgorithms", _list_algorithms),
    )
)
