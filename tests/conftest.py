"""What all tests share: both transports, and proofs that take minutes, run only when asked for."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.kms.transports import KINDS, Kind

# How long an example takes says something of the machine, not of the code.
settings.register_profile("batchkms", deadline=None)
settings.load_profile("batchkms")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips what is marked `long`, unless `-m` names it."""
    if "long" in config.option.markexpr:
        return
    skip = pytest.mark.skip(reason="takes minutes: run it with `-m long`")
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(skip)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each transport in turn: what one is held to, the others are."""
    return KINDS[request.param]
