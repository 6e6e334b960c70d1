"""What is found of keys and quota: at the emulator, over sockets, and at services that are ill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms.checks.account import KEYS_LOOKED_AT, LOT, Account, look_at_account
from batchkms.emulator import Emulator
from batchkms.kms.client import KmsClient
from batchkms.kms.credentials import Credentials, StaticCredentials
from batchkms.kms.transport import Answer
from batchkms.retry import RetryPolicy
from batchkms.tally import OTHER_KEYS
from tests.virtual_time import run_virtual

T = TypeVar("T")

FAST = 10_000
"""Calls a second where the pace does not matter."""


def key(number: int) -> str:
    return f"{number:08}-0000-0000-8000-000000000000"


# -- The emulator ----------------------------------------------------------------------------

STATES = {1: "Enabled", 2: "Disabled", 3: "Archived", 4: "PendingDelete", 5: "PendingImport"}
RSA, NOBODY = 6, 999

SEEDS = "".join(
    f'[[keys]]\nid = "{key(number)}"\nalias = "k{number}"\n'
    f'state = "{STATES.get(number, "Enabled")}"\n'
    + ("deletion = 2099-01-01T00:00:00Z\n" if number == 4 else "")
    + ('usage = "ASYMMETRIC_DECRYPT_RSA_2048"\n' if number == RSA else "")
    for number in range(1, 131)
)


class Connect(Protocol):
    """Makes a client, by default with the emulator's own credentials."""

    def __call__(self, secret_id: str = "", secret_key: str = "") -> KmsClient: ...


@asynccontextmanager
async def emulated(folder: Path, **more: Any) -> AsyncIterator[tuple[Emulator, Connect]]:
    """An emulator with 130 keys, and what makes a client of it."""
    (folder / "keys.toml").write_text(SEEDS)
    emulator = Emulator(
        data_dir=folder / "kms", seed_file=folder / "keys.toml", rate_limit=None, **more
    )
    async with emulator:

        def client(secret_id: str = "", secret_key: str = "") -> KmsClient:
            own = Credentials(secret_id or emulator.secret_id, secret_key or emulator.secret_key)
            return KmsClient(
                region=emulator.region,
                endpoint=emulator.endpoint,
                credentials=StaticCredentials(own),
            )

        yield emulator, client


def rows_of(numbers: Iterable[int]) -> dict[str, int]:
    """Keys with as many rows as their number."""
    return {key(number): number for number in numbers}


def usable(account: Account) -> dict[str, bool | None]:
    return {each.key_id: each.usable for each in account.keys}


async def test_keys_in_every_state(tmp_path: Path) -> None:
    async with emulated(tmp_path) as (emulator, client), client() as kms:
        keys = rows_of([*STATES, RSA, 7])
        account = await look_at_account(kms, keys, region=emulator.region)
    told = {each.key_id: each.told() for each in account.keys}
    assert told == {
        **{key(number): state for number, state in STATES.items()},
        key(RSA): "Enabled, but its usage is ASYMMETRIC_DECRYPT_RSA_2048",
        key(7): "Enabled",
    }
    assert [each.key_id for each in account.unusable] == [key(n) for n in (2, 3, 4, 5, RSA)]
    assert [each.rows for each in account.keys] == [*STATES, RSA, 7]
    assert (account.quota, account.out_of_service, account.problems) == (30_000, None, ())
    assert account.calls == 2
    called = {name for name, each in emulator.stats.as_json()["actions"].items() if each["calls"]}
    assert called == {"DescribeKeys", "GetServiceStatus"}


async def test_a_lot_is_halved_until_the_bad_keys_stand_alone(tmp_path: Path) -> None:
    async with emulated(tmp_path) as (emulator, client), client() as kms:
        keys = {**rows_of(range(6, 131)), key(NOBODY): 3, "no-key-id": 4}
        account = await look_at_account(kms, keys, region=emulator.region, per_second=FAST)
    bad = {key(RSA), key(NOBODY), "no-key-id"}
    assert usable(account) == {key_id: key_id not in bad for key_id in keys}
    errors = {each.key_id: each.error for each in account.keys if each.error}
    assert {key_id: error.code for key_id, error in errors.items()} == {
        key(NOBODY): "ResourceUnavailable.CmkNotFound",
        "no-key-id": "InvalidParameterValue.InvalidKeyId",
    }
    assert all(error.request_id for error in errors.values())
    assert account.problems == ()
    assert account.calls < 20


async def test_a_key_of_many_that_may_not_be_seen_may_still_be_used(tmp_path: Path) -> None:
    (tmp_path / "who.toml").write_text(
        '[[credentials]]\nsecret_id = "clerk"\nsecret_key = "x"\n'
        '[[credentials.rules]]\neffect = "deny"\nactions = ["Describe*"]\n'
        f'keys = ["{key(8)}"]\n'
        '[[credentials.rules]]\neffect = "deny"\nactions = ["GetServiceStatus"]\n'
    )
    async with (
        emulated(tmp_path, credentials=tmp_path / "who.toml") as (emulator, client),
        client("clerk", "x") as kms,
    ):
        account = await look_at_account(
            kms, rows_of([2, 7, 8]), region=emulator.region, per_second=FAST
        )
    assert usable(account) == {key(2): False, key(7): True, key(8): None}
    denied = account.keys[2]
    assert denied.error is not None
    assert denied.error.code.startswith("UnauthorizedOperation")
    assert denied.error.request_id
    assert denied.error.request_id in denied.told()
    assert denied.told().startswith("not known: ")
    assert account.quota is None
    assert [problem.split(":")[0] for problem in account.problems] == ["GetServiceStatus failed"]


async def test_wrong_credentials_end_the_asking(tmp_path: Path) -> None:
    async with (
        emulated(tmp_path) as (emulator, client),
        client("nobody", "x") as kms,
    ):
        account = await look_at_account(
            kms, rows_of(range(1, 131)), region=emulator.region, per_second=FAST
        )
    assert set(usable(account).values()) == {None}
    assert (account.calls, account.problems) == (1, ())
    assert account.stopped_by is not None
    assert account.stopped_by.code.startswith("AuthFailure.")


async def test_calls_that_fail_are_made_again(tmp_path: Path) -> None:
    faults = [
        {"action": ["DescribeKeys", "GetServiceStatus"], "code": "InternalError", "times": 2},
        {"action": "DescribeKeys", "code": "RequestLimitExceeded", "times": 1},
    ]
    async with emulated(tmp_path, faults=faults) as (emulator, client), client() as kms:
        account = await look_at_account(
            kms, rows_of([1, 7]), region=emulator.region, per_second=FAST
        )
    assert usable(account) == {key(1): True, key(7): True}
    assert (account.quota, account.problems, account.calls) == (30_000, (), 5)


async def test_nobody_listens() -> None:
    kms = KmsClient(
        region="ap-guangzhou",
        endpoint="http://127.0.0.1:9",
        credentials=StaticCredentials(Credentials("i", "k")),
    )
    async with kms:
        account = await look_at_account(
            kms,
            rows_of([1]),
            region="ap-guangzhou",
            retry=RetryPolicy(max_attempts=2, base_s=0.001),
        )
    assert usable(account) == {key(1): None}
    assert (account.calls, account.problems) == (2, ())
    assert account.stopped_by is not None
    assert account.stopped_by.code == "ConnectionRefused"


# -- Services that answer as no emulator does ------------------------------------------------


class Service:
    """A transport that answers by a script of the action and its parameters."""

    def __init__(self, answer: Callable[[str, dict[str, Any]], dict[str, Any]]) -> None:
        self._answer = answer
        self.calls: list[tuple[float, str, Any]] = []

    async def post(
        self, headers: Mapping[str, str], body: bytes, accept: Callable[[Answer], T]
    ) -> T:
        action, parameters = headers["X-TC-Action"], orjson.loads(body)
        self.calls.append((asyncio.get_running_loop().time(), action, parameters))
        fields = {"RequestId": f"r-{len(self.calls)}", **self._answer(action, parameters)}
        return accept(Answer(200, orjson.dumps({"Response": fields})))

    async def aclose(self) -> None:
        return None


def looked_at(service: Service, keys: dict[str, int], **more: Any) -> Account:
    """The account as this service tells it, on virtual time."""

    async def look() -> Account:
        kms = KmsClient(
            region="r",
            credentials=StaticCredentials(Credentials("i", "k")),
            transport=service,
        )
        async with kms:
            return await look_at_account(kms, keys, region="r", **more)

    return run_virtual(look())


def fails(code: str) -> dict[str, Any]:
    return {"Error": {"Code": code, "Message": "no"}}


def metadata(key_id: str, state: str = "Enabled") -> dict[str, Any]:
    return {"KeyId": key_id, "KeyState": state, "KeyUsage": "ENCRYPT_DECRYPT"}


def truthful(
    states: dict[str, str | None], *, leaves_out: bool = False
) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
    """Knows keys by their state in lower case; None for one that does not exist."""

    def answer(action: str, parameters: dict[str, Any]) -> dict[str, Any]:
        if action == "GetServiceStatus":
            return {"QpsLimit": 300}
        asked = parameters["KeyIds"] if action == "DescribeKeys" else [parameters["KeyId"]]
        assert 1 <= len(asked) <= LOT
        if len({each.lower() for each in asked}) < len(asked):
            return fails("InvalidParameterValue.DuplicatedKeyId")
        known = {each: states.get(each.lower()) for each in asked}
        if None in known.values() and not (leaves_out and action == "DescribeKeys"):
            return fails("ResourceUnavailable.CmkNotFound")
        told = [metadata(each.lower(), state) for each, state in known.items() if state]
        return (
            {"KeyMetadatas": told[::-1]} if action == "DescribeKeys" else {"KeyMetadata": told[0]}
        )

    return answer


@given(
    states=st.lists(st.sampled_from(["Enabled", "Disabled", None]), max_size=250),
    leaves_out=st.booleans(),
)
def test_each_key_is_told_as_it_is(states: list[str | None], leaves_out: bool) -> None:
    known = {f"key-{n}": state for n, state in enumerate(states)}
    keys = {key_id.upper() if n % 7 == 0 else key_id: 1 for n, key_id in enumerate(known)}
    service = Service(truthful(known, leaves_out=leaves_out))
    account = looked_at(service, keys, per_second=FAST)
    assert [each.key_id for each in account.keys] == list(keys)
    assert [each.state for each in account.keys] == states
    assert [each.usable for each in account.keys] == [state == "Enabled" for state in states]
    assert (account.problems, account.stopped_by) == ((), None)
    assert account.calls == len(service.calls) <= 2 * len(states) + 4


def test_one_key_in_two_spellings_is_no_duplicate() -> None:
    account = looked_at(Service(truthful({"key-a": "Enabled"})), {"key-a": 1, "KEY-A": 2})
    assert usable(account) == {"key-a": True, "KEY-A": True}
    assert account.calls == 3


def test_a_denied_lot_is_asked_for_key_by_key() -> None:
    def answer(action: str, parameters: dict[str, Any]) -> dict[str, Any]:
        if action == "DescribeKey" and parameters["KeyId"] != "b":
            return {"KeyMetadata": metadata(parameters["KeyId"])}
        # The code that the gateway gives where CAM refuses; it does not concern the whole run.
        return fails("AuthFailure.UnauthorizedOperation")

    account = looked_at(Service(answer), {"a": 1, "b": 1, "c": 1})
    assert usable(account) == {"a": True, "b": None, "c": True}
    assert account.calls == 1 + 1 + 3


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({"KeyMetadata": {"KeyId": "k"}}, "InvalidAnswer"),
        ({"KeyMetadata": {"KeyId": "k", "KeyState": 5}}, "InvalidAnswer"),
        ({"KeyMetadata": metadata("another")}, "WrongKeyId"),
        (fails("NeverHeardOf"), "NeverHeardOf"),
    ],
)
def test_what_is_no_answer_leaves_a_key_unknown(told: dict[str, Any], code: str) -> None:
    account = looked_at(Service(lambda action, _: told), {"k": 1})
    (found,) = account.keys
    assert (found.usable, found.error and found.error.code) == (None, code)


@pytest.mark.parametrize("code", ["InvalidParameter", "InvalidParameterValue.InvalidKeyId"])
def test_an_id_that_is_refused_is_no_key(code: str) -> None:
    account = looked_at(Service(lambda action, _: fails(code)), {"k": 1})
    assert usable(account) == {"k": False}


def test_a_service_that_is_throttled_for_good_ends_the_asking() -> None:
    def answer(action: str, parameters: dict[str, Any]) -> dict[str, Any]:
        return {} if action == "GetServiceStatus" else fails("RequestLimitExceeded")

    account = looked_at(Service(answer), {f"k{n}": 1 for n in range(250)})
    assert set(usable(account).values()) == {None}
    assert account.calls == 1 + 4
    assert account.stopped_by is not None
    assert account.stopped_by.code == "RequestLimitExceeded"


def test_calls_are_paced() -> None:
    nobody = {f"k{n}": 1 for n in range(60)}
    service = Service(truthful({}))
    looked_at(service, nobody)
    times = [at for at, _, _ in service.calls]
    assert len(times) > 60
    assert all(later - at >= 1 for at, later in zip(times, times[10:], strict=False))


def test_no_more_keys_than_there_can_be_are_looked_at() -> None:
    keys = {f"k{n}": 1 for n in range(KEYS_LOOKED_AT + 5)} | {OTHER_KEYS: 7}
    service = Service(truthful(dict.fromkeys(keys, "Enabled")))
    account = looked_at(service, keys, per_second=FAST)
    assert (len(account.keys), account.not_looked_at) == (KEYS_LOOKED_AT, 6)
    assert account.calls == 1 + KEYS_LOOKED_AT // LOT


def test_an_account_in_arrears() -> None:
    status = {"ServiceEnabled": True, "InvalidType": 2, "QpsLimit": 300}
    account = looked_at(Service(lambda action, _: status), {})
    assert account.out_of_service == "the account is in arrears"
