"""What a load test and its processes say to each other: one message in each frame."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from batchkms.kms.credentials import Credentials
from batchkms.latency import Latencies
from batchkms.loadtest.call import Call
from batchkms.loadtest.rows import PackedRow
from batchkms.loadtest.runrecord import GeneratorRecord
from batchkms.loadtest.schedule import Stage
from batchkms.retry import RetryPolicy


class Orders(msgspec.Struct, tag=True, kw_only=True):
    """Once, first of all: what is called, with what, and which share of it is made.

    `concurrency` and `max_connections` are those of the whole test, of which it takes its share.
    """

    first: int
    of: int
    scheme: str
    host: str
    region: str
    ca_file: str | None
    connect_timeout_s: float
    timeout_s: float
    max_connections: int
    closed: bool
    concurrency: int
    duration_s: float
    warmup_s: float
    lag_limit_s: float
    grace_s: float
    retry: RetryPolicy
    mix: dict[str, int]
    payload_size: str
    rows: list[PackedRow] | None
    signature: Literal["tc3", "v1"]
    key_id: str | None
    seed: int
    credentials: Credentials
    log_level: str
    log_format: Literal["text", "json"]

    def __repr__(self) -> str:
        return f"Orders(first={self.first}, of={self.of})"


class Renewed(msgspec.Struct, tag=True):
    """What signs calls from now on."""

    credentials: Credentials


class Begin(msgspec.Struct, tag=True):
    """The first call of the test is due at this time of the monotonic clock of the machine."""

    zero_s: float


class Attack(msgspec.Struct, tag=True):
    """Make the calls of these stages, or those of the closed model."""

    stages: list[Stage] | None


class MakeStep(msgspec.Struct, tag=True):
    """Make the calls of a step that begins so long after the first call of the test."""

    stages: list[Stage]
    offset_s: float


class Stop(msgspec.Struct, tag=True):
    """Begin no more calls."""


class End(msgspec.Struct, tag=True):
    """No more calls will be made: report."""


class Ready(msgspec.Struct, tag=True):
    """It could begin."""


class Refused(msgspec.Struct, tag=True):
    """It cannot do what it was told: the error to raise."""

    message: str
    hint: str | None


class Calls(msgspec.Struct, tag=True):
    """The calls that have ended since the last time, and how it stands now."""

    calls: list[Call]
    settled_s: float
    under_way: int
    open_connections: int
    lag_s: float


class Landed(msgspec.Struct, tag=True):
    """Every call of the attack or step has ended and was told of."""

    kept_up: bool


class PackedLatencies(msgspec.Struct, array_like=True):
    """Latencies as they were counted, without loss."""

    buckets: dict[int, int]
    sum_us: int
    max_us: int

    @classmethod
    def of(cls, latencies: Latencies) -> PackedLatencies:
        """What these have counted."""
        return cls(dict(latencies.buckets()), latencies.sum_us, latencies.max_us)

    def unpacked(self) -> Latencies:
        """The same to count with."""
        return Latencies.of_buckets(self.buckets, sum_us=self.sum_us, max_us=self.max_us)


class Report(msgspec.Struct, tag=True, kw_only=True):
    """Once, last of all: how the process itself did, and the connections that it made."""

    generator: GeneratorRecord
    lateness: PackedLatencies
    faults: list[str]
    notes: list[str]
    opened: int
    most_connections: int
    connect: PackedLatencies
    tls: PackedLatencies


Told: TypeAlias = Orders | Renewed | Begin | Attack | MakeStep | Stop | End
Heard: TypeAlias = Ready | Refused | Calls | Landed | Report

encode = msgspec.msgpack.Encoder().encode
decode_told = msgspec.msgpack.Decoder(Told).decode
decode_heard = msgspec.msgpack.Decoder(Heard).decode
