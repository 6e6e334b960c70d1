"""What a job would do with the rows of an inventory: calls to make, and what it would write."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from batchkms.checks.estimate import blob_chars
from batchkms.checks.inventory import Inventory
from batchkms.operations.sealing import NONCE_BYTES, TAG_BYTES, VERSION
from batchkms.quota import Group
from batchkms.records import MAX_PLAINTEXT_BYTES

_DATA_KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The job, as far as it matters for that.

    `transfer` is reencrypt from another account, `in_place` makes a second file like the input.
    """

    command: Literal["encrypt", "reencrypt", "decrypt"] = "encrypt"
    mode: Literal["direct", "envelope"] = "direct"
    oversize: Literal["fail", "envelope"] = "fail"
    data_key_rows: int = 10_000
    transfer: bool = False
    in_place: bool = False

    @property
    def content(self) -> str:
        """What the rows of its input hold."""
        return "plaintext" if self.command == "encrypt" else "ciphertext"

    def calls(self, inventory: Inventory) -> Mapping[Group, int]:
        """Calls without retries, by the quota that they count against; the run's own comes first.

        One a row, or one for each data key of rows that are envelopes. Rows of more than one CMK
        need more data keys than that, up to one more for each CMK.
        """
        if self.command == "encrypt":
            sealed = self._sealed(inventory)
            calls = {Group.CRYPT: inventory.sendable - sealed}
            if "envelope" in (self.mode, self.oversize):
                calls[Group.DATA_KEY] = -(-sealed // self.data_key_rows)
            return calls
        each = inventory.sendable - inventory.envelopes + inventory.data_keys
        if self.transfer:
            return {Group.CRYPT: each, Group.SOURCE: each}
        return {Group.REENCRYPT if self.command == "reencrypt" else Group.CRYPT: each}

    def _sealed(self, inventory: Inventory) -> int:
        if self.mode == "envelope":
            return inventory.sendable
        large = (n for size, n in inventory.sizes.items() if size > MAX_PLAINTEXT_BYTES)
        return sum(large) if self.oversize == "envelope" else 0

    def written_chars(self, size: int) -> int:
        """How long what is written for a row is, whose plaintext or ciphertext has this length."""
        if self.command == "reencrypt":
            return size
        if self.command == "decrypt":
            return size * 3 // 4
        if self.mode == "direct" and size <= MAX_PLAINTEXT_BYTES:
            return blob_chars(size)
        sealed_bytes = len(VERSION) + NONCE_BYTES + size + TAG_BYTES
        return 4 * math.ceil(sealed_bytes / 3) + blob_chars(_DATA_KEY_BYTES)

    def in_place_bytes(self, inventory: Inventory) -> int:
        """About what a file like the input takes, with each ciphertext in its plaintext's place."""
        if not self.in_place:
            return 0
        # A compressed input says little about what is around the plaintexts, their ids a little.
        around = max(
            inventory.read_bytes - inventory.content_bytes,
            inventory.id_bytes + inventory.context_bytes,
        )
        return around + sum(self.written_chars(size) * n for size, n in inventory.sizes.items())
