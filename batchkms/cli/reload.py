"""SIGHUP: rate, reserve and concurrency of a run are taken from its job file as it is now."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from batchkms.cli.connect import paces
from batchkms.errors import BatchKmsError
from batchkms.job import JobSpec
from batchkms.quota import Quotas
from batchkms.runs.manifest import Manifest
from batchkms.shard import Shard

log = logging.getLogger(__name__)

JobReader = Callable[[], JobSpec]

RELOADED = ("rate", "reserve", "concurrency")
"""The settings that are taken anew; all others stay as they were when the run began."""


class Adjustable(Protocol):
    """What makes the calls of a run; an Engine does."""

    def set_concurrency(self, workers: int) -> None:
        """Works with so many calls in flight from now on."""


@dataclass(slots=True, kw_only=True)
class Reload:
    """What is called for SIGHUP.

    `found` is the rate before the reserve, in calls per second, that the run keeps to while the
    job says `auto`: the service is asked once a run. None is no limit. `shard` is the share of it
    that the run has, whatever the job file says by now.
    """

    read: JobReader
    quotas: Quotas
    work: Adjustable
    manifest: Manifest | None
    found: int | None
    shard: Shard | None = None

    def __call__(self) -> None:
        """Reads the job file. One that is wrong is told of and changes nothing."""
        try:
            spec = self.read()
            groups = tuple(self.quotas)
            pace = paces(groups, self._rate(spec), reserve=spec.reserve, shard=self.shard)
        except BatchKmsError as error:
            log.warning("the job file is not taken: %s", error)
            return
        rate = pace[groups[0]]
        self.quotas.change(pace)
        self.work.set_concurrency(spec.concurrency)
        written = spec.settings()
        if self.manifest is not None:
            self.manifest.change({name: written[name] for name in RELOADED}, calls_per_second=rate)
        log.info(
            "the job file was read again: %s, concurrency %s",
            "no limit" if rate is None else f"{rate:,} calls/s",
            f"{spec.concurrency:,}",
        )

    def _rate(self, spec: JobSpec) -> int | None:
        if spec.rate == "off":
            return None
        return spec.rate if isinstance(spec.rate, int) else self.found
