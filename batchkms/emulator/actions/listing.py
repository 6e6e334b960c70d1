"""What can be asked about keys: DescribeKey, DescribeKeys, ListKeys and ListKeyDetail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from batchkms.emulator.actions.base import Action, Office
from batchkms.emulator.actions.keys import KEY_USAGES
from batchkms.emulator.actions.lookup import HSM_CLUSTER, KEY_IDS, MEMBER_ACCOUNT, named_key
from batchkms.emulator.actions.metadata import key_metadata
from batchkms.emulator.actions.tags import passes, read_filters
from batchkms.emulator.key import ENCRYPT_DECRYPT, ORIGIN_EXTERNAL, ORIGIN_KMS, Key, KeyState
from batchkms.emulator.parameters import Absent, Check, ParameterTable, Text, Whole
from batchkms.emulator.states import LISTED_STATES

_DEFAULT_LIMIT = 10
_ALL = "ALL"
_EVERY_CLUSTER = ("", "default")
"""`default` asks for the keys outside of clusters of one's own: all of them, here."""

_STATES = (
    None,
    KeyState.ENABLED,
    KeyState.DISABLED,
    KeyState.PENDING_DELETE,
    KeyState.PENDING_IMPORT,
    KeyState.ARCHIVED,
)
"""What the numbers of ListKeyDetail's KeyState mean; 0 is any state."""

_DESCENDING = 0

_PAGE: dict[str, type | Check] = {
    "Offset": Whole(low=0, high=2**63 - 1),
    "Limit": Whole(low=1, high=200),
    "Role": Whole(low=0, high=1),
}


async def _describe_key(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    held = await named_key(office, parameters["KeyId"])
    return {"KeyMetadata": key_metadata(held.key)}


async def _describe_keys(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    """In the order asked for; one key that is not there refuses the call."""
    held = [await named_key(office, key_id) for key_id in parameters["KeyIds"]]
    return {"KeyMetadatas": [key_metadata(each.key) for each in held]}


async def _list_keys(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    listed = await _users_keys(office, parameters)
    keys = [key for key in listed if key.state in LISTED_STATES]
    page = [{"KeyId": key.key_id} for key in _page(keys, parameters)]
    return {"Keys": page, "TotalCount": len(keys)}


async def _list_key_detail(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    tests = list(_filters(parameters))
    listed = await _users_keys(office, parameters)
    keys = [key for key in listed if all(test(key) for test in tests)]
    if parameters.get("OrderType", _DESCENDING) == _DESCENDING:
        # They are in order already, of creation even within one second.
        keys.reverse()
    page = [key_metadata(key) for key in _page(keys, parameters)]
    return {"TotalCount": len(keys), "KeyMetadatas": page}


async def _users_keys(office: Office, parameters: dict[str, Any]) -> list[Key]:
    """All keys; but role 1 asks for those that other cloud products made: there are none."""
    await office.keys.refresh()
    return [] if parameters.get("Role", 0) else office.keys.all_keys()


def _page(keys: list[Key], parameters: dict[str, Any]) -> list[Key]:
    offset, limit = parameters.get("Offset", 0), parameters.get("Limit", _DEFAULT_LIMIT)
    return keys[offset : offset + limit]


def _filters(parameters: dict[str, Any]) -> Iterator[Callable[[Key], bool]]:
    """What a key must be to be listed. Raises ApiError."""
    state = _STATES[parameters.get("KeyState", 0)]
    if state is not None:
        yield lambda key: key.state is state
    usage = parameters.get("KeyUsage") or ENCRYPT_DECRYPT
    if usage != _ALL:
        yield lambda key: key.usage == usage
    origin = parameters.get("Origin") or _ALL
    if origin != _ALL:
        yield lambda key: key.origin == origin
    part = parameters.get("SearchKeyAlias", "")
    if part:
        yield lambda key: part in key.alias or part in key.key_id
    filters = read_filters(parameters.get("TagFilters", []))
    if filters:
        yield lambda key: passes(key, filters)


LISTING_ACTIONS = (
    Action(
        name="DescribeKey",
        parameters=ParameterTable(
            required={"KeyId": str}, optional={"MemberAccount": MEMBER_ACCOUNT}
        ),
        handle=_describe_key,
    ),
    Action(
        name="DescribeKeys",
        parameters=ParameterTable(
            required={"KeyIds": KEY_IDS}, optional={"MemberAccount": MEMBER_ACCOUNT}
        ),
        handle=_describe_keys,
    ),
    Action(
        name="ListKeys",
        parameters=ParameterTable(optional={**_PAGE, "HsmClusterId": HSM_CLUSTER}),
        handle=_list_keys,
    ),
    Action(
        name="ListKeyDetail",
        parameters=ParameterTable(
            optional={
                **_PAGE,
                "OrderType": Whole(low=0, high=1),
                "KeyState": Whole(low=0, high=len(_STATES) - 1),
                "SearchKeyAlias": str,
                "Origin": Text(one_of=("", _ALL, ORIGIN_KMS, ORIGIN_EXTERNAL)),
                "KeyUsage": Text(one_of=("", _ALL, *KEY_USAGES)),
                "TagFilters": list,
                "HsmClusterId": Text(
                    one_of=_EVERY_CLUSTER, code="InvalidParameterValue.InvalidHsmClusterId"
                ),
                "MemberAccounts": Absent(of=list, code="UnsupportedOperation.NotRoleOperation"),
            }
        ),
        handle=_list_key_detail,
    ),
)
