"""A run from its first row to its end: results written, manifest kept, signals obeyed."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Literal, Protocol

from batchkms.cli.main import EXIT_INTERRUPTED, printable
from batchkms.errors import OutputError, RunStopped
from batchkms.reporting.progress import Meter, shown
from batchkms.reporting.shardfigures import ShardFigures
from batchkms.reporting.summary import State, exit_code
from batchkms.reporting.timeline import Timeline, recorded
from batchkms.runs.fingerprint import InputRows
from batchkms.runs.lots import Lot, Work
from batchkms.runs.manifest import Manifest
from batchkms.runs.output import Output
from batchkms.sinks.base import Sink
from batchkms.sources.base import Source

log = logging.getLogger(__name__)

NOTE_EVERY_S = 5.0
"""How often the manifest notes how far the input was read."""

_POSIX = sys.platform != "win32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended, and what stopped it."""

    state: State
    error: RunStopped | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """All that a run needs, opened. `reload` is called for SIGHUP, None drains instead.

    `shard` tells which share of the input it does, None for all of it.
    """

    title: str
    source: Source
    rows: InputRows
    output: Output
    sink: Sink
    work: Work
    manifest: Manifest | None
    timeline: Timeline
    progress: Literal["auto", "always", "never"]
    reload: Callable[[], None] | None = None
    shard: Callable[[], ShardFigures | None] = lambda: None

    async def run(self, lots: AsyncGenerator[Lot, None]) -> Ending:
        """Writes its lots to whatever end they come, with its files in order at the end."""
        self.output.begin()
        # To the very end: a signal must not cut off the results that are still being written.
        with signals_drain(self.work, reload=self.reload):
            try:
                ending = await self._results_written(lots)
            except BaseException as error:
                # A defect, or the loop is being torn down: keep what there is, then let it pass.
                with suppress(Exception):
                    await self.output.abandon()
                    self._end_manifest(Ending(state=State.STOPPED), type(error).__name__, None)
                raise
            return await self._closed(ending)

    async def _results_written(self, lots: AsyncGenerator[Lot, None]) -> Ending:
        work, output = self.work, self.output
        meter = Meter(
            printable(self.title),
            work.tally,
            consumed=lambda: share_read(self.source),
            queued=lambda: work.queued,
            outage=lambda: work.outage,
        )
        try:
            async with recorded(self.timeline), self._noting(), shown(meter, self.progress):
                if not output.size_bytes and (header := self.sink.header()):
                    await output.write(header)
                async with aclosing(lots):
                    async for lot in lots:
                        await output.write(lot.data, lot.sums, lot.let_go)
        except RunStopped as error:
            return Ending(state=State.STOPPED, error=error)
        if work.drained:
            return Ending(state=State.INTERRUPTED)
        return self._conserved()

    def _conserved(self) -> Ending:
        """Every row of the input has one result, or this says which sum does not come out."""
        tally, rows = self.work.tally, self.rows
        if rows.read == tally.ok + tally.failed and rows.skipped == tally.kept:
            return Ending(state=State.FINISHED)
        return Ending(
            state=State.STOPPED,
            error=RunStopped(
                f"the rows do not add up: {rows.read:,} read, {tally.ok:,} ok, {tally.failed:,} "
                f"failed, {tally.kept:,} kept from earlier, of which the input holds "
                f"{rows.skipped:,}",
                hint="this is a defect of batchkms, or the input was changed: please report this "
                "line; the results so far are kept",
            ),
        )

    async def _closed(self, ending: Ending) -> Ending:
        """Brings the output and then the manifest to the disk, then the output to its name.

        In this order a finished manifest never stands beside an output that lacks rows; a run
        that dies before the last step is resumed by doing that step.
        """
        digest: str | None = None
        try:
            if ending.state is State.FINISHED:
                digest = await self.output.complete()
            else:
                await self.output.abandon()
            self._end_manifest(ending, None, digest)
            if ending.state is State.FINISHED:
                self.output.publish()
                if self.manifest is not None:
                    self.manifest.published()
        except OutputError as error:
            ending = Ending(state=State.STOPPED, error=ending.error or error)
            with suppress(OutputError):
                await self.output.abandon()
            with suppress(OutputError):
                self._end_manifest(ending, None, None)
        return ending

    def _end_manifest(self, ending: Ending, reason: str | None, digest: str | None) -> None:
        if self.manifest is None:
            return
        if ending.error is not None:
            reason = str(ending.error)
        self.manifest.note_timeline(self.timeline.segments())
        shard = self.shard()
        self.manifest.note_shard(None if shard is None else shard.as_json())
        self.manifest.end(
            state=ending.state.value,
            exit_code=int(exit_code(self.work.tally, ending.state)),
            reason=reason,
            tally=self.work.tally,
            prefix=self.rows.prefix(),
            input_sha256=self.source.sha256,
            output_sha256=digest,
            output_bytes=self.output.size_bytes,
            output_rows=self.output.rows,
        )

    @asynccontextmanager
    async def _noting(self) -> AsyncIterator[None]:
        """Meanwhile the manifest notes every few seconds how far the input was read."""
        if self.manifest is None:
            yield
            return
        ended = asyncio.Event()
        task = asyncio.create_task(self._note(self.manifest, ended))
        try:
            yield
        finally:
            # A note under way is finished: it must not replace the last version.
            ended.set()
            await task

    async def _note(self, manifest: Manifest, ended: asyncio.Event) -> None:
        while not ended.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(NOTE_EVERY_S):
                    await ended.wait()
                    return
            manifest.note_timeline(self.timeline.segments())
            try:
                await asyncio.to_thread(manifest.progress, self.rows.prefix())
            except OSError as error:
                # Not what a run must stop for: the results are elsewhere, and say so if need be.
                log.warning("%s cannot be written: %s", manifest.path, error.strerror)


class Drainable(Protocol):
    """What can be ended early without losing anything; an Engine does."""

    def drain(self) -> None:
        """Begins nothing more and lets what is in flight end."""


@contextmanager
def signals_drain(engine: Drainable, *, reload: Callable[[], None] | None = None) -> Iterator[None]:
    """Meanwhile SIGINT and SIGTERM drain a run; the second one ends the process.

    SIGHUP calls `reload`; where there is none, it drains too.
    """
    if not _POSIX:
        yield
        return
    loop = asyncio.get_running_loop()
    drain = _Drain(engine)
    handlers: dict[signal.Signals, Callable[[], None]] = {
        **{signal.SIGINT: drain, signal.SIGTERM: drain},
        signal.SIGHUP: reload or drain,
    }
    before = signal.getsignal(signal.SIGHUP)
    if reload is None and before is signal.SIG_IGN:
        # nohup: the run is to outlive its terminal.
        del handlers[signal.SIGHUP]
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
        # What is left is to tell of the run: a signal must still not end it without a word.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.signal(signal.SIGHUP, before)


def end_on_signals() -> None:
    """Until a run has begun, SIGTERM and a hang-up end the command as SIGINT does."""
    if not _POSIX:
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, signal.default_int_handler)


class _Drain:
    """What the first and the second signal do."""

    def __init__(self, engine: Drainable) -> None:
        self._engine = engine
        self._told = False

    def __call__(self) -> None:
        if self._told:
            log.warning("left at once: what was written so far is kept")
            os._exit(EXIT_INTERRUPTED)
        self._told = True
        self._engine.drain()
        log.warning(
            "interrupted: waiting for the calls in flight; interrupt again to leave at once"
        )


def share_read(source: Source) -> float | None:
    """How much of an input was read, 0 to 1; None where its size is not known."""
    return source.read_bytes / source.size_bytes if source.size_bytes else None
