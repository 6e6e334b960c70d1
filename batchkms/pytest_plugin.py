"""For tests of others: the fixture `batchkms_emulator`, a KMS for the time of a pytest session.

pytest loads this module in every project that has batchkms installed, so that it imports
nothing heavy before the fixture is used. The emulator runs in a thread of its own, and tests
may be plain functions that use any client.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from batchkms.emulator import Emulator

T = TypeVar("T")

_TIMEOUT_S = 30.0


class FaultRules:
    """The emulator's fault rules, to be called from any thread; every test begins with none.

    `options["faults"]` are those that every test begins with instead.
    """

    def __init__(self, served: _Served) -> None:
        self._served = served

    def add(self, **fields: Any) -> None:
        """Puts one more rule in force: `add(action="Encrypt", code="InternalError", times=1)`.

        The fields are those of docs/emulator.md; `for` is a word of Python's, so that it is
        written `for_`. Raises ConfigError.
        """
        rule = {"for" if name == "for_" else name: value for name, value in fields.items()}
        self._served.do(lambda emulator: emulator.faults.add(rule))

    def rules(self) -> list[dict[str, Any]]:
        """The rules in force, each with `seen` and `hits`."""
        return self._served.do(lambda emulator: emulator.faults.rules())

    def clear(self) -> None:
        """Takes every rule out of force."""
        self._served.do(lambda emulator: emulator.faults.clear())


class RunningEmulator:
    """What a test needs to call the emulator. `host` is the endpoint without its scheme."""

    def __init__(self, served: _Served, emulator: Emulator) -> None:
        self._served = served
        self.endpoint = emulator.endpoint
        self.host = emulator.endpoint.partition("://")[2]
        self.region = emulator.region
        self.secret_id = emulator.secret_id
        self.secret_key = emulator.secret_key
        self.key_id = emulator.demo_key_id
        self.ca_file = emulator.ca_file
        self.faults = FaultRules(served)

    def __repr__(self) -> str:
        return f"RunningEmulator(endpoint={self.endpoint!r}, region={self.region!r})"

    def stats(self) -> dict[str, Any]:
        """What this test has called: `stats()["Encrypt"]["calls"]`, `["ok"]`, `["errors"]`."""
        figures: dict[str, Any] = self._served.do(lambda emulator: emulator.stats.as_json())
        return dict(figures["actions"])


class _Served:
    """An emulator in a thread, with an event loop of its own."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="batchkms-emulator", daemon=True
        )

    def __enter__(self) -> _Served:
        from batchkms.emulator import Emulator

        self._thread.start()
        try:
            self._emulator = Emulator(**self._options)
            self.run(self._emulator.__aenter__())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.run(self._emulator.__aexit__(None, None, None))
        finally:
            self._end()

    def running(self) -> RunningEmulator:
        """The emulator as it was at the start."""
        self.run(self._emulator.reset())
        return RunningEmulator(self, self._emulator)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Awaits in the emulator's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_TIMEOUT_S)

    def do(self, call: Callable[[Emulator], T]) -> T:
        """Calls something of the emulator in its own thread."""

        async def called() -> T:
            return call(self._emulator)

        return self.run(called())

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_TIMEOUT_S)
        self._loop.close()


@pytest.fixture(scope="session")
def batchkms_emulator_options() -> dict[str, Any]:
    """Options of `batchkms.Emulator` for the session; override it in your conftest.py."""
    return {}


@pytest.fixture(scope="session")
def _batchkms_emulator_served(
    tmp_path_factory: pytest.TempPathFactory, batchkms_emulator_options: dict[str, Any]
) -> Iterator[_Served]:
    data_dir = tmp_path_factory.mktemp("batchkms-emulator")
    with _Served({"data_dir": data_dir, **batchkms_emulator_options}) as served:
        yield served


@pytest.fixture
def batchkms_emulator(_batchkms_emulator_served: _Served) -> RunningEmulator:
    """A KMS on this machine, as new for every test: endpoint, region, secret_id, secret_key,
    key_id, host, faults and stats()."""
    return _batchkms_emulator_served.running()
