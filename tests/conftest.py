"""What all tests share: proofs that take minutes are run only when they are asked for."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips what is marked `long`, unless `-m` names it."""
    if "long" in config.option.markexpr:
        return
    skip = pytest.mark.skip(reason="takes minutes: run it with `-m long`")
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(skip)
