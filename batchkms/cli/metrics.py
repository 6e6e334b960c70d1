"""`--metrics`: what a command serves while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from batchkms.cli.running import share_read
from batchkms.cli.streams import say
from batchkms.options import Address
from batchkms.quota import Quotas
from batchkms.sources.base import Source
from batchkms.tally import Tally

if TYPE_CHECKING:
    from batchkms.loadtest.loadtest import LoadTest
    from batchkms.reporting.metrics import Waiting

Watch = Callable[["Waiting", Quotas, Source], None]


@asynccontextmanager
async def run_metrics(address: Address | None, command: str, tally: Tally) -> AsyncIterator[Watch]:
    """Serves the metrics of a run while the block runs, and says where.

    It begins before there is an engine, so that a port in use is told before anything is sent;
    what it gives is called with the engine then. Raises ConfigError.
    """
    if address is None:
        yield lambda work, quotas, source: None
        return
    from batchkms.reporting.metrics import RunCollector
    from batchkms.reporting.metricserver import served

    collector = RunCollector(command, tally)

    def watch(work: Waiting, quotas: Quotas, source: Source) -> None:
        collector.watch(work, quotas, consumed=lambda: share_read(source))

    async with served(address, collector) as url:
        say(f"batchkms: metrics are at {url}")
        yield watch


@asynccontextmanager
async def load_metrics(
    address: Address | None, test: LoadTest, actions: tuple[str, ...]
) -> AsyncIterator[None]:
    """Serves the metrics of a load test while the block runs, and says where.

    Raises ConfigError.
    """
    if address is None:
        yield
        return
    from batchkms.loadtest.metrics import LoadCollector
    from batchkms.reporting.metricserver import served

    async with served(address, LoadCollector(test, actions)) as url:
        say(f"batchkms: metrics are at {url}")
        yield
