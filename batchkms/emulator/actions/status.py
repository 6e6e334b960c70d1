"""GetServiceStatus: what the account has bought, its quota above all."""

from __future__ import annotations

from typing import Any

from batchkms.emulator.actions.base import Action, Office
from batchkms.emulator.parameters import ParameterTable

LARGEST_TIER_PER_SECOND = 30_000
"""What is reported where nothing is limited: the most that can be bought (573/131380)."""

_INVALID_TYPE_OK = 1
_USER_LEVEL_NORMAL = 0


async def _get_service_status(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    per_second = office.rate_limit or LARGEST_TIER_PER_SECOND
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
        "CmkUserCount": len(office.keys.all_keys()),
        "CmkLimit": office.keys.key_limit,
        "ExclusiveHSMList": [],
        "IsAllowedDataKeyHosted": False,
        "QpsLimit": per_second,
        "QpsTotalLimit": per_second,
        "RegionsQps": [{"Region": office.region, "Qps": per_second}],
    }


STATUS_ACTIONS = (
    Action(name="GetServiceStatus", parameters=ParameterTable(), handle=_get_service_status),
)
