"""When a CMK that only the rows name is taken for unusable, and when the run is."""

from __future__ import annotations

import pytest

from batchkms.errors import KmsError, RunStopped
from batchkms.operations.keyhealth import REFUSALS, STOP_AFTER, KeyHealth
from tests.virtual_time import run_virtual


class Service:
    """Refuses the CMKs in `refused` and counts its calls."""

    def __init__(self, *refused: str | None, code: str = "ResourceUnavailable.CmkDisabled") -> None:
        self.refused = set(refused)
        self.code = code
        self.calls = 0

    async def answer(self, key: str | None) -> str:
        self.calls += 1
        if key in self.refused:
            raise KmsError(self.code, "it is disabled")
        return "ok"

    async def outcome(self, health: KeyHealth, key: str | None) -> str:
        """`ok`, or the message that the row failed with."""
        try:
            return await health.call(key, lambda: self.answer(key))
        except KmsError as error:
            return error.message


def test_rows_of_a_refused_cmk_are_not_sent_any_more_and_others_are() -> None:
    async def main() -> None:
        health, service = KeyHealth(), Service("bad")
        for number in range(500):
            assert await service.outcome(health, "good") == "ok"
            said = await service.outcome(health, "bad")
            assert said.startswith("not sent") == (number >= REFUSALS)
        assert service.calls == 500 + REFUSALS

    run_virtual(main())


def test_a_success_takes_the_refusals_before_it_back() -> None:
    async def main() -> None:
        health, service = KeyHealth(), Service("bad")
        for _ in range(10):
            for _ in range(REFUSALS - 1):
                await service.outcome(health, "bad")
            service.refused.clear()
            assert await service.outcome(health, "bad") == "ok"
            service.refused.add("bad")

    run_virtual(main())


@pytest.mark.parametrize("key", ["only", None])
def test_the_only_cmk_stops_the_run(key: str | None) -> None:
    async def main() -> None:
        health, service = KeyHealth(), Service()
        for _ in range(50):
            assert await service.outcome(health, key) == "ok"
        service.refused.add(key)
        with pytest.raises(RunStopped, match=r"CmkDisabled: it is disabled") as caught:
            for _ in range(REFUSALS):
                await service.outcome(health, key)
        assert ("the CMK only cannot be used" in str(caught.value)) == (key == "only")
        assert caught.value.hint

    run_virtual(main())


def test_when_all_are_refused_the_run_stops_whatever_the_rows_name() -> None:
    async def main() -> None:
        names = [f"k{number}" for number in range(2 * STOP_AFTER)]
        health, service = KeyHealth(), Service(*names)
        with pytest.raises(RunStopped, match=f"{STOP_AFTER} calls in a row were refused"):
            for name in names:
                await service.outcome(health, name)
        assert service.calls == STOP_AFTER

    run_virtual(main())


def test_verify_is_never_stopped_by_it() -> None:
    async def main() -> None:
        health, service = KeyHealth(stops=False), Service("only")
        for _ in range(300):
            await service.outcome(health, "only")
        assert service.calls == REFUSALS

    run_virtual(main())


def test_other_failures_say_nothing_of_a_cmk() -> None:
    async def main() -> None:
        health = KeyHealth()
        service = Service("k", code="InvalidParameterValue.InvalidCiphertext")
        for _ in range(300):
            assert await service.outcome(health, "k") == "it is disabled"
        assert service.calls == 300

    run_virtual(main())
