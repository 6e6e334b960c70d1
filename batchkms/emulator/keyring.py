"""The keys of one region, in memory for speed and in the store for good."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from batchkms.emulator.ciphertext import MATERIAL_BYTES, KeyCipher
from batchkms.emulator.store import Account, Key, KeyState, Store

T = TypeVar("T")

ENCRYPT_DECRYPT = "ENCRYPT_DECRYPT"


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key with its cipher, which is dear to make."""

    key: Key
    cipher: KeyCipher


class KeyRing:
    """The keys of one region.

    Reads are answered from memory. What is not found there is looked for in the store once
    more if another process has written to it since. Writes, and all else that blocks, happen in
    one thread of its own.
    """

    def __init__(self, *, region: str, clock: Callable[[], float], key_limit: int) -> None:
        self.region = region
        self.key_limit = key_limit
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batchkms-emulator-store")
        self._store: Store | None = None
        self._version = -1
        self._by_id: dict[str, HeldKey] = {}
        self._by_handle: dict[str, HeldKey] = {}

    async def open(self, data_dir: Path) -> Account:
        """Opens the store and loads the keys. Raises ConfigError."""
        self._store = await self._run(partial(Store, data_dir))
        await self._reload()
        return await self._run(self._store.account)

    async def aclose(self) -> None:
        """Closes the store, after what is being written."""
        if self._store is not None:
            await self._run(self._store.close)
            self._store = None
        self._thread.shutdown()

    def all_keys(self) -> list[Key]:
        """Every key that is known, oldest first."""
        return [held.key for held in self._by_id.values()]

    async def find(self, key_id: str) -> HeldKey | None:
        """The key of this id."""
        held = self._by_id.get(key_id)
        if held is None and await self._reload():
            held = self._by_id.get(key_id)
        return held

    async def find_by_handle(self, handle: str) -> HeldKey | None:
        """The key that a blob with this first part was made under."""
        held = self._by_handle.get(handle)
        if held is None and await self._reload():
            held = self._by_handle.get(handle)
        return held

    async def find_by_alias(self, alias: str) -> Key | None:
        """The key of this alias."""
        await self._reload()
        return next((key for key in self.all_keys() if key.alias == alias), None)

    async def create(self, *, alias: str, description: str, usage: str = ENCRYPT_DECRYPT) -> Key:
        """Makes a key; it is on disk when this returns. Raises AliasTaken and TooManyKeys."""
        key = Key(
            key_id=new_key_id(),
            alias=alias,
            description=description,
            state=KeyState.ENABLED,
            usage=usage,
            created_s=int(self._clock()),
            material=os.urandom(MATERIAL_BYTES),
        )
        add = partial(self._opened.add_key, self.region, key, limit=self.key_limit)
        await self._run(add)
        self._hold(key)
        return key

    async def set_state(self, key_id: str, state: KeyState) -> None:
        """Moves a key to another state. Raises KeyError."""
        key = self._by_id[key_id].key
        await self._run(partial(self._opened.set_state, key_id, state))
        self._hold(replace(key, state=state))

    async def refresh(self) -> None:
        """Takes in what other processes have written since."""
        await self._reload()

    @property
    def _opened(self) -> Store:
        if self._store is None:
            raise RuntimeError("the store is not open")
        return self._store

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _reload(self) -> bool:
        """Loads the keys anew if another process has written; whether it did."""
        keys = await self._run(self._changed_keys)
        if keys is None:
            return False
        self._by_id = {}
        for key in keys:
            self._hold(key)
        return True

    def _changed_keys(self) -> list[Key] | None:
        version = self._opened.data_version()
        if version == self._version:
            return None
        self._version = version
        return self._opened.keys(self.region)

    def _hold(self, key: Key) -> None:
        held = HeldKey(key, KeyCipher(key.key_id, key.material))
        self._by_id[key.key_id] = held
        self._by_handle[held.cipher.handle] = held


def new_key_id() -> str:
    """A fresh key id: a version 1 UUID, as the service's are, of a random node.

    The node is random because the real one would be this machine's hardware address.
    """
    node = int.from_bytes(os.urandom(6), "big") | 0x0100_0000_0000
    return str(uuid.uuid1(node=node))
