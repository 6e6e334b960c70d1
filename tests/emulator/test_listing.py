"""ListKeys and ListKeyDetail: pages, order, and every filter."""

from __future__ import annotations

from typing import Any

import pytest

from batchkms.emulator import KeyState
from tests.emulator.calling import Caller

RSA = "ASYMMETRIC_DECRYPT_RSA_2048"


@pytest.fixture
async def ids(caller: Caller) -> dict[str, str]:
    """Keys of every kind by their alias, made one second after the other."""
    ids = {"batchkms-demo": caller.emulator.demo_key_id}
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("orders-1", {"Tags": [{"TagKey": "team", "TagValue": "a"}]}),
        (
            "orders-2",
            {
                "Tags": [
                    {"TagKey": "team", "TagValue": "b"},
                    {"TagKey": "env", "TagValue": "prod"},
                ]
            },
        ),
        ("external", {"Type": 2}),
        ("rsa", {"KeyUsage": RSA}),
    ]
    for alias, parameters in kinds:
        caller.clock.now_s += 1
        made = await caller.call("CreateKey", {"Alias": alias, **parameters})
        ids[alias] = made["KeyId"]
    return ids


async def aliases(caller: Caller, **parameters: Any) -> list[str]:
    """The aliases that ListKeyDetail tells; the total is held to be theirs."""
    answer = await caller.call("ListKeyDetail", {"Limit": 200, **parameters})
    assert answer["TotalCount"] == len(answer["KeyMetadatas"])
    return [key["Alias"] for key in answer["KeyMetadatas"]]


SYMMETRIC = ["external", "orders-2", "orders-1", "batchkms-demo"]


async def test_the_newest_symmetric_keys_come_first_unless_told(
    caller: Caller, ids: dict[str, str]
) -> None:
    assert await aliases(caller) == SYMMETRIC
    assert await aliases(caller, OrderType=0) == SYMMETRIC
    assert await aliases(caller, OrderType=1) == SYMMETRIC[::-1]
    assert await aliases(caller, KeyUsage="ENCRYPT_DECRYPT") == SYMMETRIC
    assert await aliases(caller, KeyUsage=RSA) == ["rsa"]
    assert await aliases(caller, KeyUsage="ASYMMETRIC_DECRYPT_SM2") == []
    assert await aliases(caller, KeyUsage="ALL") == ["rsa", *SYMMETRIC]


async def test_keys_made_in_one_second_keep_their_order(caller: Caller) -> None:
    for number in range(3):
        await caller.call("CreateKey", {"Alias": f"key-{number}"})
    assert await aliases(caller, OrderType=1) == ["batchkms-demo", "key-0", "key-1", "key-2"]


async def test_origin_and_role(caller: Caller, ids: dict[str, str]) -> None:
    assert await aliases(caller, Origin="EXTERNAL") == ["external"]
    assert await aliases(caller, Origin="TENCENT_KMS") == SYMMETRIC[1:]
    assert await aliases(caller, Origin="ALL") == await aliases(caller, Origin="") == SYMMETRIC
    assert await aliases(caller, Role=1) == []
    assert await aliases(caller, HsmClusterId="default") == SYMMETRIC


async def test_a_part_of_an_alias_or_id_finds_a_key(caller: Caller, ids: dict[str, str]) -> None:
    assert await aliases(caller, SearchKeyAlias="orders") == ["orders-2", "orders-1"]
    assert await aliases(caller, SearchKeyAlias=ids["orders-1"][3:30]) == ["orders-1"]
    assert await aliases(caller, SearchKeyAlias="Orders") == []


async def test_tags(caller: Caller, ids: dict[str, str]) -> None:
    def wanted(*filters: tuple[str, list[str]]) -> dict[str, Any]:
        return {"TagFilters": [{"TagKey": key, "TagValue": values} for key, values in filters]}

    assert await aliases(caller, **wanted(("team", ["a", "b"]))) == ["orders-2", "orders-1"]
    assert await aliases(caller, **wanted(("team", ["b"]), ("env", []))) == ["orders-2"]
    assert await aliases(caller, **wanted(("team", ["c"]))) == []
    for odd in ("team", {"TagKey": "team", "TagValue": "a"}, {"TagKey": "team", "TagValue": [1]}):
        assert await caller.code("ListKeyDetail", {"TagFilters": [odd]}) == "InvalidParameter"
    code = await caller.code("ListKeyDetail", {"TagFilters": [{"TagKey": "team"}]})
    assert code == "MissingParameter"


async def test_tags_that_cannot_be(caller: Caller) -> None:
    for tags, code in (
        (["team"], "InvalidParameter"),
        ([{"TagKey": "", "TagValue": "a"}], "InvalidParameter"),
        ([{"TagKey": "team", "TagValue": "a", "Colour": "red"}], "InvalidParameter"),
        ([{"TagKey": "team"}], "MissingParameter"),
    ):
        assert await caller.code("CreateKey", {"Alias": "orders", "Tags": tags}) == code


async def test_every_state_has_a_number(caller: Caller, ids: dict[str, str]) -> None:
    for alias, state in (
        ("batchkms-demo", KeyState.ARCHIVED),
        ("orders-1", KeyState.DISABLED),
        ("orders-2", KeyState.PENDING_DELETE),
    ):
        await caller.emulator.set_key_state(ids[alias], state)
    assert [await aliases(caller, KeyUsage="ALL", KeyState=state) for state in range(1, 6)] == [
        ["rsa"],
        ["orders-1"],
        ["orders-2"],
        ["external"],
        ["batchkms-demo"],
    ]
    assert len(await aliases(caller, KeyUsage="ALL", KeyState=0)) == 5
    # The short list leaves out what is archived or about to be deleted.
    listed = (await caller.call("ListKeys"))["Keys"]
    assert [key["KeyId"] for key in listed] == [ids["orders-1"], ids["external"], ids["rsa"]]


async def test_pages(caller: Caller, ids: dict[str, str]) -> None:
    for offset in range(5):
        answer = await caller.call("ListKeyDetail", {"Offset": offset, "Limit": 1})
        assert answer["TotalCount"] == 4
        assert [key["Alias"] for key in answer["KeyMetadatas"]] == SYMMETRIC[offset : offset + 1]


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"Limit": 0}, "InvalidParameter"),
        ({"Limit": 201}, "InvalidParameter"),
        ({"Offset": -1}, "InvalidParameter"),
        ({"OrderType": 2}, "InvalidParameter"),
        ({"KeyState": 6}, "InvalidParameter"),
        ({"Origin": "external"}, "InvalidParameter"),
        ({"KeyUsage": "COOKING"}, "InvalidParameter"),
        ({"HsmClusterId": "hsm-1"}, "InvalidParameterValue.InvalidHsmClusterId"),
        ({"MemberAccounts": [{"MemberUin": 1}]}, "UnsupportedOperation.NotRoleOperation"),
    ],
)
async def test_filters_that_cannot_be(
    caller: Caller, parameters: dict[str, Any], code: str
) -> None:
    assert await caller.code("ListKeyDetail", parameters) == code
