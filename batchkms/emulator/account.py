"""The credential that an emulator makes for itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from batchkms.emulator.randomness import Randomness

SECRET_ID_PREFIX = "EMULATOR"  # noqa: S105 - it begins an id, which goes over the wire in the clear
"""What an id of the emulator begins with: it can never be taken for a live one (`AKID`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The credential that the emulator accepts."""

    secret_id: str
    secret_key: str = field(repr=False)


def new_account(randomness: Randomness) -> Account:
    """A fresh credential, of the lengths of a real id (36 characters) and secret key (32)."""
    return Account(
        secret_id=SECRET_ID_PREFIX + randomness.draw(14).hex(),
        secret_key=randomness.draw(16).hex(),
    )
