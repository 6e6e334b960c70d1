"""The emulator as a whole: opens its store, puts its parts together, listens, and closes all."""

from __future__ import annotations

import os
import secrets
import sqlite3
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from batchkms.emulator.actions import Office
from batchkms.emulator.auth import Verifier
from batchkms.emulator.control import Control
from batchkms.emulator.credentials import Credential, Credentials, read_credentials
from batchkms.emulator.datadir import default_data_dir, unusable
from batchkms.emulator.faults import Carrier, Faults, Rule
from batchkms.emulator.faults.rule import parse_rule
from batchkms.emulator.front import http_server
from batchkms.emulator.gateway import FailHook, Gateway
from batchkms.emulator.keyring import KeyRing
from batchkms.emulator.listener import Listener, is_loopback, valid_host, valid_port
from batchkms.emulator.quota import WINDOWS, Quotas
from batchkms.emulator.randomness import SteppedDates, randomness_of
from batchkms.emulator.seedfile import plant_seed_file
from batchkms.emulator.stats import Stats
from batchkms.emulator.store import AliasTaken, KeyState, TooManyKeys
from batchkms.emulator.tiers import TIERS, limits_of
from batchkms.emulator.tls import given_context, own_context
from batchkms.errors import ConfigError

if TYPE_CHECKING:
    from batchkms.emulator.workers.team import Member, Team

DEMO_ALIAS = "batchkms-demo"
DEFAULT_REGION = "ap-guangzhou"
DEFAULT_RATE_LIMIT = 300
KEY_LIMIT = 200
"""CMKs per account and region (documentation 1030/31966)."""

T = TypeVar("T")

_NOT_STARTED = "the emulator has not been started"


class Emulator:
    """A KMS on this machine, served by the caller's event loop.

        async with Emulator(data_dir=path) as emulator:
            ...  # emulator.endpoint, .region, .secret_id, .secret_key, .demo_key_id

    `data_dir` holds keys and the credential for later runs. `port` 0 takes any free one.
    `rate_limit` is the quota of Encrypt and Decrypt together, in calls a second; other actions
    have their documented ones; None limits nothing. `tier` is one that can be bought (see
    tiers.py) and takes the place of `rate_limit`; `rate_window` is "sliding" or "fixed".
    `faults` are rules as in a fault file, in force from the start; more of them may come and go
    while it runs (`.faults`). `tls` serves HTTPS with a certificate of a test CA, whose file is
    `.ca_file`, for this machine's names and `tls_names`; `tls_cert` and `tls_key` serve it with
    files of yours. A `host` that others can reach asks for TLS or for `insecure_host`, and then
    `/_emulator/*` asks for `.token`. `clock` gives Unix time and `ticks` seconds
    that never run backwards; both are for tests. `credentials` is a file of further credentials
    (see credentials.py); `allow_any_credentials` takes ids in it that look like real ones.
    `strict` refuses what official clients do and the real gateway does not take. `seed_file`
    names keys to have from the start (see seedfile.py). With a `seed`, every id, key, date and
    ciphertext is the same in each run with the same calls, and so are `.secret_id` and
    `.secret_key`; without a `data_dir` such a run keeps nothing. `fail` is for
    tests too: given the name of an action that was authenticated and let through, it may return
    an error code to answer with.

    Entering raises ConfigError if the port, the host or the data directory cannot be used.
    """

    def __init__(
        self,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        rate_limit: int | None = DEFAULT_RATE_LIMIT,
        tier: str | None = None,
        rate_window: str = "sliding",
        region: str = DEFAULT_REGION,
        key_limit: int = KEY_LIMIT,
        faults: Iterable[Rule | Mapping[str, Any]] = (),
        tls: bool = False,
        tls_names: Iterable[str] = (),
        tls_cert: str | os.PathLike[str] | None = None,
        tls_key: str | os.PathLike[str] | None = None,
        insecure_host: bool = False,
        credentials: str | os.PathLike[str] | None = None,
        allow_any_credentials: bool = False,
        strict: bool = False,
        seed: int | None = None,
        seed_file: str | os.PathLike[str] | None = None,
        team: Team | None = None,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
        fail: FailHook | None = None,
    ) -> None:
        if rate_limit is not None and rate_limit < 1:
            raise ConfigError(
                "the rate limit must be at least 1", hint="give None to let every call through"
            )
        if tier is not None:
            rate_limit = _known("tier", tier, TIERS).symmetric
        self.data_dir = default_data_dir() if data_dir is None else Path(data_dir)
        self.region = region or DEFAULT_REGION
        self.endpoint = ""
        self.secret_id = ""
        self.secret_key = ""
        self.demo_key_id = ""
        self.ca_file: Path | None = None
        self.token: str | None = None
        self._own_tls = tls
        self._tls_names = tuple(tls_names)
        if self._tls_names and not tls:
            raise ConfigError(
                "a TLS name was given, and no TLS of the emulator's own",
                hint="add --tls, or leave --tls-name out",
            )
        self._given_tls = _pair(tls_cert, tls_key, own=tls)
        self.host = valid_host(host, guarded=insecure_host or tls or self._given_tls is not None)
        self._port = valid_port(port)
        self._limits = (
            None
            if rate_limit is None
            else limits_of(TIERS[tier or "default"], symmetric=rate_limit)
        )
        self._window = _known("rate window", rate_window, WINDOWS)
        self._window_name = rate_window
        self._team = team
        self._rules = [
            rule if isinstance(rule, Rule) else parse_rule(rule, f"fault {number}")
            for number, rule in enumerate(faults, 1)
        ]
        self._rate_limit = rate_limit
        self._clock = clock
        self._ticks = ticks
        self._fail = fail
        self._key_limit = key_limit
        self._strict = strict
        self._allow_any_credentials = allow_any_credentials
        self._more_credentials = (
            read_credentials(Path(credentials), allow_any_credentials=allow_any_credentials)
            if credentials is not None
            else []
        )
        self._data_dir_given = data_dir is not None
        self._seed = seed
        self._seed_file = None if seed_file is None else Path(seed_file)
        self._keys: KeyRing | None = None
        self._gateway: Gateway | None = None
        self._exit = AsyncExitStack()

    def __repr__(self) -> str:
        return f"Emulator(endpoint={self.endpoint!r}, region={self.region!r})"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if self._seed is not None and not self._data_dir_given:
                # What an earlier run has left would make this one another one.
                self.data_dir = Path(stack.enter_context(TemporaryDirectory(prefix="batchkms-")))
            keys = KeyRing(
                region=self.region,
                clock=self._dates(),
                key_limit=self._key_limit,
                randomness=randomness_of(self._seed),
            )
            stack.push_async_callback(keys.aclose)
            try:
                account = await keys.open(self.data_dir)
                if self._seed_file is not None:
                    await plant_seed_file(keys, self._seed_file)
                self.demo_key_id = await _demo_key(keys)
                await keys.keep(self.demo_key_id, DEMO_ALIAS)
            except sqlite3.Error as error:  # A full disk, or a damage that shows only now.
                raise unusable(self.data_dir, str(error)) from None
            self.secret_id, self.secret_key = account.secret_id, account.secret_key
            keys.started()
            self._keys = keys
            own = Credential(secret_id=account.secret_id, secret_key=account.secret_key)
            known = Credentials(
                [own, *self._more_credentials], allow_any_credentials=self._allow_any_credentials
            )
            team = self._team
            member = team.join(self._limits, window=self._window_name) if team else None
            self._gateway = Gateway(
                office=Office(keys=keys, rate_limit=self._rate_limit),
                verifier=Verifier(credentials=known, clock=self._clock, strict=self._strict),
                ticks=self._ticks,
                fail=self._fail,
                clock=self._clock,
                strict=self._strict,
                quotas=member.quotas
                if member
                else Quotas(self._limits, make=lambda name, limit: self._window(limit)),
                faults=Faults(
                    self._rules, seed=self._seed, ledger=member.ledger if member else None
                ),
                request_ids=keys.randomness.request_id,
            )
            await self._listen(stack, self._gateway, member)
            self._exit = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._exit.aclose()

    @property
    def stats(self) -> Stats:
        """What was called so far, as `GET /_emulator/stats` tells it."""
        if self._gateway is None:
            raise RuntimeError(_NOT_STARTED)
        return self._gateway.stats

    async def set_key_state(self, key_id: str, state: KeyState) -> None:
        """Moves a key to another state, for tests of what its users do then. Raises KeyError."""
        if self._keys is None:
            raise RuntimeError(_NOT_STARTED)
        await self._keys.set_state(key_id, state)

    async def reset(self) -> None:
        """Returns to what there was before the first call.

        Keys, quotas, figures and fault rules are those of the start, and so is a seed.
        """
        if self._keys is None or self._gateway is None:
            raise RuntimeError(_NOT_STARTED)
        await self._keys.reset()
        self._gateway.forget()

    @property
    def faults(self) -> Faults:
        """The fault rules in force, which can be added to and cleared."""
        if self._gateway is None:
            raise RuntimeError(_NOT_STARTED)
        return self._gateway.faults

    async def _listen(self, stack: AsyncExitStack, gateway: Gateway, member: Member | None) -> None:
        # What can be reached from elsewhere must not be told to fail, or what was called, by all.
        if not is_loopback(self.host):
            self.token = member.token if member else secrets.token_urlsafe(24)
        listener = Listener(
            host=self.host,
            port=self._port,
            tls=self._tls_context(),
            reuse_port=member is not None,
        )
        carrier = Carrier(refuse=member.refuse if member else listener.pause)
        control = Control(
            gateway,
            token=self.token,
            reset=self.reset,
            faults=gateway.faults,
            together=member.all if member else None,
        )
        if member is not None:
            stack.push_async_callback(member.close)
            await member.open(gateway, listener.pause)
        await listener.open(http_server(gateway, control, strict=self._strict, carrier=carrier))
        stack.push_async_callback(listener.close)
        stack.callback(carrier.release)
        self.endpoint = listener.endpoint

    def _dates(self) -> Callable[[], float]:
        """What gives keys their dates: with a seed, dates that are the same in every run."""
        stepped = self._seed is not None and self._clock is time.time
        return SteppedDates() if stepped else self._clock

    def _tls_context(self) -> ssl.SSLContext | None:
        if self._given_tls is not None:
            return given_context(*self._given_tls)
        if not self._own_tls:
            return None
        context, self.ca_file = own_context(self.data_dir, names=self._tls_names)
        return context


async def _demo_key(keys: KeyRing) -> str:
    """The id of the key for first steps: made once per store and region, then kept."""
    key = await keys.find_by_alias(DEMO_ALIAS)
    if key is None:
        try:
            key = await keys.create(
                alias=DEMO_ALIAS, description="Made by the batchkms emulator for first steps"
            )
        except AliasTaken:  # Another process has made it just now.
            key = await keys.find_by_alias(DEMO_ALIAS)
        except TooManyKeys:
            raise ConfigError(
                f"region {keys.region} has no demo key and no room for one more key",
                hint="name another directory with --data-dir",
            ) from None
    if key is None:
        raise RuntimeError("the demo key is in the store and cannot be found")
    return key.key_id


def _known(what: str, name: str, table: Mapping[str, T]) -> T:
    """What a name stands for. Raises ConfigError."""
    if name not in table:
        raise ConfigError(f"there is no {what} {name!r}", hint=f"choose {', '.join(table)}")
    return table[name]


def _pair(
    certificate: str | os.PathLike[str] | None, key: str | os.PathLike[str] | None, *, own: bool
) -> tuple[Path, Path] | None:
    """The files of a certificate and its key, if they are given. Raises ConfigError."""
    if certificate is None and key is None:
        return None
    if own:
        raise ConfigError(
            "tls with the emulator's own test CA and a certificate of yours exclude each other",
            hint="leave out either --tls, or --tls-cert and --tls-key",
        )
    if certificate is None or key is None:
        raise ConfigError(
            "a certificate and its key go together", hint="give both --tls-cert and --tls-key"
        )
    return Path(certificate), Path(key)
