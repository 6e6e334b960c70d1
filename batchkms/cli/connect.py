"""From a JobSpec to what it calls: endpoint, credentials, emulator, client, quota."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from batchkms.checks.estimate import less_reserve as less_reserve
from batchkms.cli.emulatorchild import emulator_child
from batchkms.errors import ConfigError, CredentialsError, KmsError
from batchkms.job import JobSpec
from batchkms.kms.client import DEFAULT_ENDPOINT, KmsClient
from batchkms.kms.credentials import (
    Credentials,
    CredentialSource,
    StaticCredentials,
)
from batchkms.kms.credentialsearch import find_credentials
from batchkms.kms.endpoint import Endpoint, parse_endpoint
from batchkms.kms.servicestatus import quota_of
from batchkms.quota import DEFAULT_PER_SECOND, Group, per_second
from batchkms.shard import Shard, divided
from batchkms.team.job import Server

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A client, its region, and the emulator's demo CMK where there is one."""

    kms: KmsClient
    region: str
    demo_key_id: str | None = None
    server: Server | None = None
    """A server of the job's own that other processes may call as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a load test calls, and with what: no client is made of it.

    `lost` is done once an emulator of the test's own has died, with its exit code; None without.
    """

    endpoint: Endpoint
    region: str
    credentials: CredentialSource
    demo_key_id: str | None = None
    lost: asyncio.Future[int] | None = None


async def find_target(spec: JobSpec, stack: AsyncExitStack) -> Target:
    """Where the job calls; its emulator is a process of its own. KMS is not called.

    Raises ConfigError, also when there are no credentials.
    """
    if spec.emulator:
        child = await stack.enter_async_context(
            emulator_child(data_dir=spec.data_dir, region=spec.region or "")
        )
        ready = child.ready
        credentials = Credentials(ready["secret_id"], ready["secret_key"])
        return Target(
            endpoint=parse_endpoint(ready["endpoint"]),
            region=ready["region"],
            credentials=StaticCredentials(credentials),
            demo_key_id=None if spec.key_id else ready["key_id"],
            lost=child.ended,
        )
    source = await _credentials(spec, stack, profile=spec.profile)
    endpoint = parse_endpoint(spec.endpoint or DEFAULT_ENDPOINT)
    return Target(endpoint=endpoint, region=spec.region or "", credentials=source)


async def connect(spec: JobSpec, stack: AsyncExitStack) -> Connection:
    """A client as the job describes it; everything opened is closed by the stack.

    KMS is not called. Raises ConfigError, also when there are no credentials.
    """
    if spec.emulator and spec.processes > 1:
        return await _to_server(spec, await _started(spec, stack), stack)
    if spec.emulator:
        return await _to_emulator(spec, stack)
    region = spec.region or ""
    kms = await _client(spec, stack, region=region, endpoint=spec.endpoint, profile=spec.profile)
    return Connection(kms=kms, region=region)


async def connect_member(spec: JobSpec, server: Server | None, stack: AsyncExitStack) -> Connection:
    """The same in another process of the run, which has started its own `server` or none."""
    if server is None:
        return await connect(spec, stack)
    return await _to_server(spec, server, stack)


async def connect_source(spec: JobSpec, stack: AsyncExitStack) -> KmsClient:
    """A client of where the ciphertexts come from: as the job's own, but for what it names.

    Raises ConfigError.
    """
    return await _client(
        spec,
        stack,
        region=spec.source_region or spec.region or "",
        endpoint=spec.source_endpoint or spec.endpoint,
        profile=spec.source_profile or spec.profile,
    )


async def _client(
    spec: JobSpec, stack: AsyncExitStack, *, region: str, endpoint: str | None, profile: str | None
) -> KmsClient:
    credentials = await _credentials(spec, stack, profile=profile)
    kms = KmsClient(
        region=region,
        endpoint=endpoint or DEFAULT_ENDPOINT,
        credentials=credentials,
        ca_file=spec.ca_file,
        proxy=spec.proxy,
        transport=spec.transport,
        connect_timeout_s=spec.connect_timeout,
        timeout_s=spec.timeout,
    )
    return await stack.enter_async_context(kms)


async def _credentials(
    spec: JobSpec, stack: AsyncExitStack, *, profile: str | None
) -> CredentialSource:
    # A profile names credentials by itself: a file is only for those that name none.
    file = spec.credentials if profile == spec.profile else None
    credentials = find_credentials(profile=profile, file=file, environ=os.environ, home=Path.home())
    stack.push_async_callback(credentials.aclose)
    await _looked_at(credentials)
    return credentials


class NoCredentials(ConfigError):
    """There are none to sign a call with."""


async def _looked_at(credentials: CredentialSource) -> None:
    """Having none at all is told before anything is made. Raises NoCredentials."""
    try:
        await credentials.credentials()
    except CredentialsError as error:
        raise NoCredentials(error.message, hint=error.hint or error.verdict.advice) from None


async def _to_emulator(spec: JobSpec, stack: AsyncExitStack) -> Connection:
    from batchkms.emulator import Emulator, default_data_dir

    emulator = Emulator(
        data_dir=Path(spec.data_dir) if spec.data_dir else default_data_dir(),
        region=spec.region or "",
    )
    await stack.enter_async_context(emulator)
    kms = KmsClient(
        region=emulator.region,
        endpoint=emulator.endpoint,
        credentials=StaticCredentials(Credentials(emulator.secret_id, emulator.secret_key)),
        transport=spec.transport,
        connect_timeout_s=spec.connect_timeout,
        timeout_s=spec.timeout,
    )
    await stack.enter_async_context(kms)
    # A key that the job names is used, and told about only if it is the demo key.
    demo_key_id = None if spec.key_id else emulator.demo_key_id
    return Connection(kms=kms, region=emulator.region, demo_key_id=demo_key_id)


async def _started(spec: JobSpec, stack: AsyncExitStack) -> Server:
    """An emulator in a process of its own, as several call it."""
    target = await find_target(spec, stack)
    return Server(
        endpoint=target.endpoint.url,
        region=target.region,
        credentials=await target.credentials.credentials(),
        demo_key_id=target.demo_key_id,
    )


async def _to_server(spec: JobSpec, server: Server, stack: AsyncExitStack) -> Connection:
    kms = KmsClient(
        region=server.region,
        endpoint=server.endpoint,
        credentials=StaticCredentials(server.credentials),
        transport=spec.transport,
        connect_timeout_s=spec.connect_timeout,
        timeout_s=spec.timeout,
    )
    await stack.enter_async_context(kms)
    return Connection(kms=kms, region=server.region, demo_key_id=server.demo_key_id, server=server)


async def found_rate(spec: JobSpec, connection: Connection) -> int | None:
    """The calls per second that the job may make, before its reserve. None for no limit.

    `auto` makes one call of GetServiceStatus. Raises ConfigError if that gives no quota.
    """
    if spec.rate == "off":
        return None
    return spec.rate if isinstance(spec.rate, int) else await _asked(connection)


def assumed_rate(spec: JobSpec) -> int | None:
    """The same without a call: for `auto` the quota of an account that has bought none."""
    if spec.rate == "off":
        return None
    if isinstance(spec.rate, int):
        return spec.rate
    return DEFAULT_PER_SECOND[Group.REENCRYPT if spec.command == "reencrypt" else Group.CRYPT]


def paces(
    groups: Sequence[Group], rate: int | None, *, reserve: float, shard: Shard | None
) -> dict[Group, int | None]:
    """The calls per second that a run may make in each group; the first one is its own.

    That is its share of what `rate`, the account's, leaves after the reserve. None is no limit.
    Raises ConfigError where that is less than one call for each share.
    """
    return divided(per_second(groups, less_reserve(rate, reserve)), shard)


async def _asked(connection: Connection) -> int:
    try:
        status = await connection.kms.get_service_status()
    except KmsError as error:
        raise ConfigError(
            f"--rate auto asked for the quota and failed: {error}",
            hint=error.hint or f"{error.verdict.advice}; or give --rate a number",
        ) from None
    quota = quota_of(status, connection.region)
    if quota is None:
        raise ConfigError(
            "--rate auto asked for the quota and the service did not tell it",
            hint="give --rate a number of calls per second",
        )
    log.info("GetServiceStatus says that the quota is %s calls/s", f"{quota:,}")
    return quota
