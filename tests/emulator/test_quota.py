"""The quota: a strict sliding second, on a clock of the tests' own, and the figures about it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkms.emulator import Emulator
from batchkms.emulator.actions import ACTIONS
from batchkms.emulator.quota import FixedWindow, Peak, Quotas, SlidingWindow
from batchkms.emulator.tiers import TIERS, limits_of
from tests.emulator.calling import Caller, Clock, b64, calling

# Steps of an eighth of a second are exact in binary, so that "one second later" is exactly that.
ARRIVALS = st.lists(st.integers(0, 12), max_size=60).map(
    lambda steps: [sum(steps[: i + 1]) / 8 for i in range(len(steps))]
)


@asynccontextmanager
async def limited(tmp_path: Path, rate_limit: int | None, **options: Any) -> AsyncIterator[Caller]:
    clock = Clock()
    emulator = Emulator(
        data_dir=tmp_path / "data", rate_limit=rate_limit, clock=clock, ticks=clock, **options
    )
    async with emulator, calling(emulator, clock) as caller:
        yield caller


async def encrypt_code(caller: Caller) -> str:
    key_id = caller.emulator.demo_key_id
    return await caller.code("Encrypt", {"KeyId": key_id, "Plaintext": b64(b"secret")})


@settings(deadline=None)
@given(st.integers(1, 5), ARRIVALS)
def test_a_call_is_let_through_exactly_if_fewer_than_the_limit_were(
    limit: int, arrivals_s: list[float]
) -> None:
    window = SlidingWindow(limit)
    let_through: list[float] = []
    for now_s in arrivals_s:
        recent = sum(now_s - 1 < time_s <= now_s for time_s in let_through)
        assert (window.refusal(now_s) == 0) is (recent < limit)
        if recent < limit:
            let_through.append(now_s)


@settings(deadline=None)
@given(ARRIVALS)
def test_the_peak_is_the_most_in_any_sliding_second(arrivals_s: list[float]) -> None:
    peak = Peak()
    for now_s in arrivals_s:
        peak.add(now_s)
    most = (sum(end - 1 < time_s <= end for time_s in arrivals_s) for end in arrivals_s)
    assert peak.most == max(most, default=0)


def test_refused_calls_are_counted_for_a_second_and_delay_nothing() -> None:
    window = SlidingWindow(2)
    assert [window.refusal(at) for at in (0.0, 0.5, 0.6, 0.7)] == [0, 0, 3, 4]
    assert window.refusal(1.0) == 0
    assert window.refusal(1.25) == 5
    assert window.refusal(1.5) == 0
    # The refusals of 0.6 and 0.7 are forgotten by now, that of 1.25 is not.
    assert window.refusal(1.75) == 4


def test_a_quota_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        SlidingWindow(0)


async def test_a_call_too_many_is_told_the_count_and_the_limit(tmp_path: Path) -> None:
    async with limited(tmp_path, 5) as caller:
        assert [await encrypt_code(caller) for _ in range(5)] == ["ok"] * 5
        for count in (6, 7):
            assert await caller.error("Encrypt", {"KeyId": "", "Plaintext": ""}) == (
                "RequestLimitExceeded",
                f"Your current request times equals to `{count}` in a second, which exceeds the "
                "frequency limit `5` for a second. Please reduce the frequency of calls.",
            )
        caller.clock.now_s += 1
        assert await encrypt_code(caller) == "ok"


async def test_encrypt_and_decrypt_share_a_quota_and_others_have_their_own(tmp_path: Path) -> None:
    async with limited(tmp_path, 2) as caller:
        blob = await caller.encrypt(b"secret")
        assert await caller.code("Decrypt", {"CiphertextBlob": blob}) == "ok"
        assert await encrypt_code(caller) == "RequestLimitExceeded"
        assert await caller.code("Decrypt", {"CiphertextBlob": blob}) == "RequestLimitExceeded"
        codes = [await caller.code("GetServiceStatus") for _ in range(101)]
        assert codes == ["ok"] * 100 + ["RequestLimitExceeded"]
        assert await caller.code("ListKeys") == "ok"


async def test_a_call_that_is_not_authenticated_uses_up_no_quota(tmp_path: Path) -> None:
    async with limited(tmp_path, 1) as caller:
        for _ in range(3):
            code = await caller.code("Encrypt", {}, secret_key="another")
            assert code == "AuthFailure.SignatureFailure"
        assert await encrypt_code(caller) == "ok"


async def test_without_a_limit_nothing_is_refused(tmp_path: Path) -> None:
    async with limited(tmp_path, None) as caller:
        codes = {await caller.code("GetServiceStatus") for _ in range(150)}
        assert codes == {"ok"}
        assert (await caller.call("GetServiceStatus"))["QpsLimit"] == 30_000


async def test_the_figures_tell_calls_errors_and_the_peak(tmp_path: Path) -> None:
    async with limited(tmp_path, 3) as caller:
        for _ in range(4):
            await encrypt_code(caller)
        caller.clock.now_s += 1
        await caller.code("Encrypt", {"KeyId": "none", "Plaintext": b64(b"a")})
        await caller.code("Encrypt", secret_key="another")
        await caller.code("GuessKey")
        assert await caller.stats("Encrypt") == {
            "calls": 6,
            "ok": 3,
            "errors": {
                "RequestLimitExceeded": 1,
                "InvalidParameterValue.InvalidKeyId": 1,
                "AuthFailure.SignatureFailure": 1,
            },
            "throttled": 1,
            "peak_per_second": 3,
        }
        assert (await caller.stats("Decrypt"))["calls"] == 0
        assert "GuessKey" not in caller.emulator.stats.as_json()["actions"]


async def test_the_hook_fails_calls_that_were_let_through(tmp_path: Path) -> None:
    asked: list[str] = []

    def fail(action: str) -> str | None:
        asked.append(action)
        return "InternalError" if len(asked) == 2 else None

    async with limited(tmp_path, 3, fail=fail) as caller:
        codes = [await encrypt_code(caller) for _ in range(4)]
        assert codes == ["ok", "InternalError", "ok", "RequestLimitExceeded"]
        assert await caller.code("Encrypt", secret_key="another") != "ok"
        assert asked == ["Encrypt"] * 3
        assert (await caller.stats("Encrypt"))["peak_per_second"] == 3


async def test_a_hook_may_name_any_code(tmp_path: Path) -> None:
    async with limited(tmp_path, None, fail=lambda action: "LimitExceeded") as caller:
        assert await caller.error("ListKeys") == (
            "LimitExceeded",
            "The call failed with LimitExceeded.",
        )


def test_a_fixed_window_lets_through_twice_the_limit_across_a_turn() -> None:
    window = FixedWindow(3)
    burst = [window.refusal(at) for at in (0.9, 0.91, 0.92, 0.93, 1.0, 1.1, 1.2, 1.3, 1.9)]
    assert burst == [0, 0, 0, 4, 0, 0, 0, 4, 5]


@settings(deadline=None)
@given(st.integers(1, 5), ARRIVALS)
def test_a_fixed_window_counts_every_call_of_a_whole_second(
    limit: int, arrivals_s: list[float]
) -> None:
    window = FixedWindow(limit)
    for place, now_s in enumerate(arrivals_s):
        calls = sum(int(at_s) == int(now_s) for at_s in arrivals_s[: place + 1])
        assert window.refusal(now_s) == (calls if calls > limit else 0)


async def test_the_window_is_an_option(tmp_path: Path) -> None:
    async with limited(tmp_path, 2, rate_window="fixed") as caller:
        caller.clock.now_s += 0.9
        codes = [await encrypt_code(caller) for _ in range(3)]
        caller.clock.now_s += 0.2
        codes += [await encrypt_code(caller) for _ in range(3)]
    assert codes == ["ok", "ok", "RequestLimitExceeded"] * 2


def test_accounts_and_regions_have_quotas_of_their_own() -> None:
    quotas = Quotas({"symmetric": 1})
    places = [("1", "ap-guangzhou"), ("2", "ap-guangzhou"), ("1", "ap-tokyo")]
    for expected in (None, (2, 1)):
        for account, region in places:
            refusal = quotas.refusal("symmetric", 5.0, account=account, region=region)
            assert refusal == expected


def test_a_changed_limit_holds_at_once_and_for_its_time() -> None:
    quotas = Quotas({"a": 3})
    assert [quotas.refusal("a", 0.0) for _ in range(2)] == [None, None]
    quotas.change("a", 1, 0.1, for_s=5)
    assert quotas.refusal("a", 0.2) == (3, 1)
    quotas.change("a", 2, 0.3, for_s=5)
    assert quotas.refusal("a", 1.0) is None
    assert quotas.limit("a") == 2
    # The first limit is back, not the one that was changed.
    assert [quotas.refusal("a", 5.5) for _ in range(3)] == [None] * 3
    assert quotas.refusal("a", 5.6) == (4, 3)
    quotas.change("a", None, 5.7)
    assert quotas.refusal("a", 5.7) is None
    quotas.reset()
    assert quotas.limit("a") == 3


@pytest.mark.parametrize("name", TIERS)
def test_a_tier_sets_the_limit_of_every_action(name: str) -> None:
    limits = limits_of(TIERS[name])
    assert limits["symmetric"] == TIERS[name].symmetric
    assert limits["ReEncrypt"] == limits["GenerateDataKey"] == limits["CreateKey"] == 100
    assert limits["RotateKey"] == 20
    assert limits["GenerateRandom"] == TIERS[name].random
    assert set(limits) == {action.quota_group for action in ACTIONS.values()}


async def test_a_tier_is_told_by_get_service_status(tmp_path: Path) -> None:
    async with limited(tmp_path, 300, tier="professional-6000") as caller:
        assert (await caller.call("GetServiceStatus"))["QpsLimit"] == 6000


async def test_credentials_of_another_account_have_quotas_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "credentials.toml"
    path.write_text(
        '[[credentials]]\nsecret_id = "same"\nsecret_key = "k"\n'
        '[[credentials]]\nsecret_id = "other"\nsecret_key = "k"\naccount = "another"\n'
    )
    async with limited(tmp_path, 1, credentials=path) as caller:
        named = {"KeyId": caller.emulator.demo_key_id, "Plaintext": b64(b"secret")}
        assert await encrypt_code(caller) == "ok"
        codes = [
            await caller.code("Encrypt", named, secret_id=secret_id, secret_key="k")
            for secret_id in ("same", "other", "other")
        ]
    assert codes == ["RequestLimitExceeded", "ok", "RequestLimitExceeded"]
