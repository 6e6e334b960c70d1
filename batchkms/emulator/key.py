"""What a key is: its states, what is known of it, and what may be asked of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

DAY_S = 86_400
DEFAULT_ROTATE_DAYS = 365

ENCRYPT_DECRYPT = "ENCRYPT_DECRYPT"
RSA_DECRYPT = "ASYMMETRIC_DECRYPT_RSA_2048"
USAGES = (ENCRYPT_DECRYPT, RSA_DECRYPT)
"""The usages that the emulator has; the service knows more."""

ORIGIN_KMS = "TENCENT_KMS"
ORIGIN_EXTERNAL = "EXTERNAL"


class KeyState(StrEnum):
    """The states of a CMK, by the service's names."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"
    PENDING_DELETE = "PendingDelete"
    PENDING_IMPORT = "PendingImport"
    ARCHIVED = "Archived"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A CMK. Names that end in `_s` are Unix times, 0 for never.

    `versions` is the material of each version, the first one first, and never shown: 32 bytes
    of a symmetric key, a PKCS #8 private key in DER of an RSA one. A key whose material is to
    be imported has none. `tags` are pairs of key and value.
    """

    key_id: str
    alias: str
    description: str = ""
    state: KeyState = KeyState.ENABLED
    usage: str = ENCRYPT_DECRYPT
    origin: str = ORIGIN_KMS
    created_s: int
    versions: tuple[bytes, ...] = field(repr=False)
    rotates: bool = False
    rotate_days: int = DEFAULT_ROTATE_DAYS
    next_rotation_s: int = 0
    last_rotation_s: int = 0
    deletion_s: int = 0
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def due_s(self) -> int:
        """When something happens to this key by itself: its deletion or rotation."""
        if self.state is KeyState.PENDING_DELETE:
            return self.deletion_s
        return self.next_rotation_s if self.rotates and self.state is KeyState.ENABLED else 0
