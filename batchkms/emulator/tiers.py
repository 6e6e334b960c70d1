"""What an account may call a second: the tiers that can be bought, and what each group gets.

Source: documentation 573/131380 (performance data) and the pages of single actions. Actions
whose page gives no figure have the 100 that every management action seen has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from batchkms.emulator.actions import ACTIONS
from batchkms.emulator.actions.base import MANAGEMENT_PER_SECOND, SYMMETRIC_GROUP


@dataclass(frozen=True, slots=True)
class Tier:
    """Calls a second: Encrypt and Decrypt together, RSA and SM2 decryption, the two others."""

    symmetric: int
    asymmetric: int
    public_key: int
    random: int


TIERS: Mapping[str, Tier] = {
    "default": Tier(300, 200, 100, 150),
    "professional-3000": Tier(3_000, 450, 3_000, 3_000),
    "professional-6000": Tier(6_000, 750, 6_000, 6_000),
    "professional-12000": Tier(12_000, 1_400, 12_000, 12_000),
    "exclusive-20000": Tier(20_000, 2_500, 20_000, 20_000),
    "exclusive-30000": Tier(30_000, 3_500, 30_000, 30_000),
}

_ROTATIONS_PER_SECOND = 20


def limits_of(tier: Tier, *, symmetric: int | None = None) -> dict[str, int]:
    """The calls a second of every quota group; `symmetric` is given to Encrypt and Decrypt."""
    own = {
        SYMMETRIC_GROUP: symmetric or tier.symmetric,
        "AsymmetricRsaDecrypt": tier.asymmetric,
        "AsymmetricSm2Decrypt": tier.asymmetric,
        "GetPublicKey": tier.public_key,
        "GenerateRandom": tier.random,
        "RotateKey": _ROTATIONS_PER_SECOND,
    }
    return {group: own.get(group, MANAGEMENT_PER_SECOND) for group in _groups()}


def _groups() -> Iterable[str]:
    return {action.quota_group for action in ACTIONS.values()}
