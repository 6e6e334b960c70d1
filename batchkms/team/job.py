"""What a member is told first: all that it needs to make the calls of a run."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace

from batchkms.engine import EngineOptions
from batchkms.failurerules import MaxFailures
from batchkms.job import JobSpec
from batchkms.kms.credentials import Credentials


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server of the run's own, which its members cannot find by themselves."""

    endpoint: str
    region: str
    credentials: Credentials = field(repr=False)
    demo_key_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberJob:
    """The job of the run and the member's part in it, `number` from 1.

    `format` and `columns` are those of the results, `limited` are the quota groups that have a
    limit. `by_deal` says that a lot may only have rows that were dealt together.
    """

    spec: JobSpec
    number: int
    server: Server | None
    format: str
    columns: tuple[str, ...]
    limited: dict[str, bool]
    by_deal: bool

    def engine_options(self) -> EngineOptions:
        """The bounds of the member: how many rows it holds, its parent sees to.

        So does the parent to what becomes of the run when rows fail.
        """
        whole = self.spec.engine_options()
        return replace(
            whole,
            concurrency=share(whole.concurrency, self.number, self.spec.processes),
            queue_records=rows_under_way(self.spec),
            max_failures=MaxFailures(),
            stops_when_all_fail=False,
        )

    def packed(self) -> bytes:
        """All of it, for a socket between two processes of one run."""
        return pickle.dumps(self)

    @staticmethod
    def unpacked(data: bytes | memoryview) -> MemberJob:
        """What `packed` has made."""
        job = pickle.loads(data)  # noqa: S301 - from the parent, over a socket nobody else has
        if not isinstance(job, MemberJob):
            raise TypeError("this is no job")
        return job


_QUEUE_OF_EACH, _LARGE_QUEUE_OF_EACH = 4_000, 8_000
"""Rows read ahead for each process, unless `--queue-size` says how many there may be in all: each
has to have some to go on with while others are on their way."""

_FEW = 2
"""For so many there is memory to share, and to have large parts under way."""


def in_large_parts(spec: JobSpec) -> bool:
    """Whether rows go to members and come back many at a time: each time costs them their core.

    Where rows need calls that counts for little, and more that none has many rows more in the end.
    """
    return spec.mode == "envelope" and spec.processes <= _FEW


def rows_under_way(spec: JobSpec) -> int:
    """How many rows may be dealt and not written yet, in all processes of a run."""
    of_each = _LARGE_QUEUE_OF_EACH if in_large_parts(spec) else _QUEUE_OF_EACH
    queue = of_each * spec.processes
    return (spec.queue_size if "queue_size" in spec.given else queue) + spec.concurrency


def share(whole: int, number: int, members: int) -> int:
    """The part of a member, from 1: together they have the whole, but each at least 1."""
    return max(1, whole // members + (number <= whole % members))
