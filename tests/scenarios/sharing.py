"""Runs that do one share each, one beside the other."""

from __future__ import annotations

import asyncio

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.ended import credentials

OF = 3


def names(format: str = "jsonl") -> list[str]:
    """What the outputs of all shares are called."""
    return [f"out.{number}.{format}" for number in range(1, OF + 1)]


async def all_shares(
    batchkms: Program, kms: Emulator, *command: str, format: str = "jsonl"
) -> None:
    """Does every share, one beside the other, as machines do that know nothing of each other."""
    ended = await asyncio.gather(
        *(
            batchkms.beside(
                *(*command, "-o", name, "--shard", f"{number}/{OF}"), environ=credentials(kms)
            )
            for number, name in enumerate(names(format), 1)
        )
    )
    assert [each.code for each in ended] == [0] * OF, [each.stderr for each in ended]
