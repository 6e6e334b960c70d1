"""The keys of one region, in memory for speed and in the store for good."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from batchkms.emulator.ciphertext import MATERIAL_BYTES, KeyCipher
from batchkms.emulator.key import (
    DAY_S,
    DEFAULT_ROTATE_DAYS,
    ENCRYPT_DECRYPT,
    ORIGIN_EXTERNAL,
    Key,
    KeyState,
)
from batchkms.emulator.randomness import Randomness, SteppedDates
from batchkms.emulator.rsa import derived_private_key, new_private_key
from batchkms.emulator.store import Account, AliasTaken, KeyIdTaken, KeyMissing, Snapshot, Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key with its ciphers, which are dear to make: one for each version, by their handles.

    `cipher` is that of the newest version, None for a key that has no material or is no
    symmetric one.
    """

    key: Key
    ciphers: Mapping[str, KeyCipher]
    cipher: KeyCipher | None


class KeyRing:
    """The keys of one region.

    Reads are answered from memory, which is brought up to date first if any process has written
    to the store since, or if a deletion or rotation has fallen due. Writes, and all else that
    blocks, happen in one thread of its own. `clock` gives Unix time.
    """

    def __init__(
        self,
        *,
        region: str,
        clock: Callable[[], float],
        key_limit: int,
        randomness: Randomness | None = None,
    ) -> None:
        self.region = region
        self.key_limit = key_limit
        self.randomness = randomness or Randomness()
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batchkms-emulator-store")
        self._store: Store | None = None
        self._mark = b""
        self._due_s = 0
        self._by_id: dict[str, HeldKey] = {}
        self._by_handle: dict[str, HeldKey] = {}
        self._gone: frozenset[str] = frozenset()
        self._seeds: dict[str, Key] = {}

    async def open(self, data_dir: Path) -> Account:
        """Opens the store and loads the keys. Raises ConfigError."""
        self._store = await self._run(partial(Store, data_dir, self.randomness))
        await self.refresh()
        return await self._run(self._store.account)

    async def aclose(self) -> None:
        """Closes the store, after what is being written."""
        if self._store is not None:
            await self._run(self._store.close)
            self._store = None
        self._thread.shutdown()

    def now_s(self) -> int:
        """What dates of keys are counted from."""
        return int(self._clock())

    def all_keys(self) -> list[Key]:
        """Every key that is known, oldest first."""
        return [held.key for held in self._by_id.values()]

    async def find(self, key_id: str) -> HeldKey | None:
        """The key of this id."""
        if self._is_behind():
            await self.refresh()
        return self._by_id.get(key_id)

    async def find_by_handle(self, handle: str) -> HeldKey | None:
        """The key that a blob with this first part was made under, whatever version of it."""
        if self._is_behind():
            await self.refresh()
        return self._by_handle.get(handle)

    def is_gone(self, handle: str) -> bool:
        """Whether a key that has been deleted made blobs with this first part."""
        return handle in self._gone

    async def find_by_alias(self, alias: str) -> Key | None:
        """The key of this alias."""
        await self.refresh()
        return next((key for key in self.all_keys() if key.alias == alias), None)

    async def create(
        self,
        *,
        alias: str,
        description: str,
        usage: str = ENCRYPT_DECRYPT,
        external: bool = False,
        tags: tuple[tuple[str, str], ...] = (),
    ) -> Key:
        """Makes a key; it is on disk when this returns. Raises AliasTaken and TooManyKeys.

        An external one has no material and waits for its import.
        """
        created_s = self.now_s()
        key = Key(
            key_id="",
            alias=alias,
            description=description,
            usage=usage,
            created_s=created_s,
            versions=(),
            next_rotation_s=created_s + DEFAULT_ROTATE_DAYS * DAY_S,
            tags=tags,
        )
        if external:
            key = replace(key, state=KeyState.PENDING_IMPORT, origin=ORIGIN_EXTERNAL)
        else:
            key = replace(key, versions=(await self.new_material(usage),))
        while True:
            key = replace(key, key_id=self.randomness.key_id())
            try:
                add = partial(self._opened.add_key, self.region, key, limit=self.key_limit)
                await self._write(add)
            except KeyIdTaken:  # Draws of a seed come again, while a store outlives the process.
                continue
            return key

    async def new_material(self, usage: str) -> bytes:
        """Fresh material for a version of a key."""
        if usage == ENCRYPT_DECRYPT:
            return self.randomness.draw(MATERIAL_BYTES)
        if self.randomness.seeded:
            # The draw is made here, where calls follow one another, and not in the thread.
            return await self._run(partial(derived_private_key, self.randomness.draw(32)))
        return await self._run(partial(new_private_key, self.randomness))

    async def change(self, key_ids: Sequence[str], change: Callable[[Key], Key]) -> list[Key]:
        """Makes keys what `change` makes of them, all or, if it raises for one, none.

        It is called in another thread with each key as it is on disk, and must depend on
        nothing else. Raises KeyMissing, AliasTaken, and what it raises.
        """
        await self._write(partial(self._opened.change, self.region, key_ids, change))
        return [self._by_id[key_id].key for key_id in key_ids if key_id in self._by_id]

    async def set_state(self, key_id: str, state: KeyState) -> None:
        """Moves a key to another state, allowed or not. Raises KeyError."""
        try:
            await self.change([key_id], lambda key: replace(key, state=state))
        except KeyMissing:
            raise KeyError(key_id) from None

    async def plant(self, seed: Key) -> None:
        """Adds a key if none of its id is there, and keeps it for `reset` in any case.

        Raises AliasTaken, KeyIdTaken and TooManyKeys.
        """
        if await self.find(seed.key_id) is None:
            add = partial(self._opened.add_key, self.region, seed, limit=self.key_limit)
            try:
                await self._write(add)
            except (AliasTaken, KeyIdTaken):  # Another process may have added it just now.
                self._mark = b""
                if await self.find(seed.key_id) is None:
                    raise
        self._seeds[seed.key_id] = seed

    async def keep(self, key_id: str, alias: str) -> None:
        """Keeps a key that is there for `reset`, as it was when it was made."""
        held = await self.find(key_id)
        if held is not None:
            self._seeds[key_id] = Key(
                key_id=key_id,
                alias=alias,
                description=held.key.description,
                created_s=held.key.created_s,
                versions=held.key.versions[:1],
                next_rotation_s=held.key.created_s + DEFAULT_ROTATE_DAYS * DAY_S,
            )

    async def reset(self) -> None:
        """Makes the region hold what it held at the start of its first run, and nothing else.

        Draws of a seed come again from the first one.
        """
        await self._write(
            partial(self._opened.replace_all, self.region, list(self._seeds.values()))
        )
        self.started()

    def started(self) -> None:
        """Tells that from now on it is calls that draw and that ask for the date."""
        self.randomness.rewind()
        if isinstance(self._clock, SteppedDates):
            self._clock.rewind()

    async def refresh(self) -> None:
        """Takes in what other processes have written, and what has fallen due, since."""
        if self._due_s and self._clock() >= self._due_s:
            await self._settle()
        if self._opened.mark() != self._mark:
            self._take(await self._run(partial(self._opened.snapshot, self.region)))

    @property
    def _opened(self) -> Store:
        if self._store is None:
            raise RuntimeError("the store is not open")
        return self._store

    def _is_behind(self) -> bool:
        if self._opened.mark() != self._mark:
            return True
        return bool(self._due_s) and self._clock() >= self._due_s

    async def _settle(self) -> None:
        """Deletes and rotates the keys whose date for it has come."""
        now_s, fresh = self.now_s(), self.randomness.draw(MATERIAL_BYTES)

        def settled(key: Key) -> Key | None:
            if not 0 < key.due_s <= now_s:  # Another process was here first.
                return key
            if key.state is KeyState.PENDING_DELETE:
                return None
            return rotated(key, hmac.digest(fresh, key.key_id.encode(), "sha256"), now_s)

        due = [key.key_id for key in self.all_keys() if 0 < key.due_s <= now_s]
        change = partial(self._opened.change, self.region, due, settled, missing_ok=True)
        await self._write(change)

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _write(self, write: Callable[[], None]) -> None:
        """Writes to the store, and takes in what is there then."""

        def written() -> Snapshot:
            write()
            return self._opened.snapshot(self.region)

        self._take(await self._run(written))

    def _take(self, snapshot: Snapshot) -> None:
        before = self._by_id
        self._by_id = {key.key_id: self._held(key, before) for key in snapshot.keys}
        self._by_handle = {handle: held for held in self._by_id.values() for handle in held.ciphers}
        self._gone, self._mark = snapshot.gone, snapshot.mark
        self._due_s = min((key.due_s for key in snapshot.keys if key.due_s), default=0)

    def _held(self, key: Key, before: Mapping[str, HeldKey]) -> HeldKey:
        held = before.get(key.key_id)
        if held is not None and held.key == key:
            return held
        if held is not None and held.key.versions == key.versions:
            return HeldKey(key, held.ciphers, held.cipher)
        if key.usage != ENCRYPT_DECRYPT:
            return HeldKey(key, {}, None)
        ciphers = [
            KeyCipher(key.key_id, material, number, self.randomness.draw)
            for number, material in enumerate(key.versions, start=1)
        ]
        by_handle = {cipher.handle: cipher for cipher in ciphers}
        return HeldKey(key, by_handle, ciphers[-1] if ciphers else None)


def rotated(key: Key, material: bytes, now_s: int) -> Key:
    """The key with one more version, which encrypts from now on; older blobs still decrypt."""
    return replace(
        key,
        versions=(*key.versions, material),
        last_rotation_s=now_s,
        next_rotation_s=now_s + key.rotate_days * DAY_S,
    )
