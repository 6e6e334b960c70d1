"""`batchkms run`."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchkms.cli.commands import RUNNABLE, run_spec
from batchkms.cli.logs import log_to_stderr
from batchkms.cli.main import EXIT_INTERRUPTED, tell, tell_error, with_options
from batchkms.errors import BatchKmsError
from batchkms.job import JobSpec
from batchkms.jobsteps import Step, not_yet_made, read_step_again, read_steps
from batchkms.options import COMMON, DRY_RUN, OF_COMMAND, PER_JOB
from batchkms.reporting.summary import Exit
from batchkms.runs.manifest import Manifest, manifest_path

if TYPE_CHECKING:
    from batchkms.loadtest.runrecord import RunRecord

log = logging.getLogger(__name__)

_ROWS_FAILED = (Exit.SOME_FAILED, Exit.ALL_RETRYABLE)

ReadSteps = Callable[[], list[Step]]

FLAGS = [*(option for option in COMMON if option.name not in PER_JOB), DRY_RUN]
"""What can be said for all steps on the command line."""


def _flags(command: Any) -> Any:
    return with_options(command, FLAGS)


@click.command(short_help="Run the steps of a job file, one after the other.")
@click.argument("job", metavar="JOB.toml")
@_flags
def run(job: str, **flags: Any) -> None:
    """Runs the steps of JOB.toml and stops at the first one that does not exit with 0.

    Options at the top of the file are for every step whose command has them. Below, each
    [[step]] has a `command` and options of that command; `allow-failures = true` goes on though
    rows of that step have failed. Flags are for all steps, and beat the environment, which beats
    the file. Paths are relative to the folder that batchkms is called in.

    The whole file is checked before the first step begins. The exit code is that of the step
    that the list stopped at, else that of the first one whose failed rows were allowed and not
    mended by a later retry, else 0. With --resume, runs that have finished are passed over.

    With --dry-run each step says what it would do, and none sends a row; audit, inspect and check
    send none anyway. What an earlier step has yet to make is passed over.
    """
    read = partial(read_steps, job, flags=flags, environ=os.environ, commands=RUNNABLE)
    sys.exit(run_steps(read))


def run_steps(read: ReadSteps) -> int:
    """Runs steps to the end, or to the first that must not be passed; returns the exit code.

    Raises ConfigError before the first one has begun.
    """
    steps = read()
    if _is_dry(steps):
        return _rehearsed(steps, read)
    codes: dict[str, int] = {}
    for step in steps:
        code = _run_step(_resumable(step, steps), steps, read)
        if code and not (step.allow_failures and code in _ROWS_FAILED):
            return _stopped_at(step, steps, code)
        # A retry has the last word on the rows of its output.
        codes[step.spec.output if step.writes else f"step {step.number}"] = code
    return next((code for code in codes.values() if code), int(Exit.OK))


def _is_dry(steps: list[Step]) -> bool:
    """Whether every step that sends rows is only to say what it would do."""
    sending = [step.spec for step in steps if DRY_RUN in OF_COMMAND[step.spec.command]]
    return bool(sending) and all(spec.dry_run for spec in sending)


def _rehearsed(steps: list[Step], read: ReadSteps) -> int:
    """Says of each step what it would do; the exit code of the first one that is not 0."""
    codes = [_rehearse(step, steps, read) for step in steps]
    return next((code for code in codes if code), int(Exit.OK))


def _rehearse(step: Step, steps: list[Step], read: ReadSteps) -> int:
    reads = not_yet_made(step, steps)
    if reads is not None:
        log_to_stderr(level=step.spec.log_level, log_format=step.spec.log_format)
        log.info("step %d of %d: %s", step.number, len(steps), step.title)
        log.info("nothing to look at yet: an earlier step makes %s", reads)
        return int(Exit.OK)
    if step.spec.command == "check":
        # The list itself must find the place for its file still free.
        step = replace(step, spec=replace(step.spec, output=""))
    return _run_step(step, steps, read)


def _run_step(step: Step, steps: list[Step], read: ReadSteps) -> int:
    spec = step.spec
    log_to_stderr(level=spec.log_level, log_format=spec.log_format)
    log.info("step %d of %d: %s", step.number, len(steps), step.title)
    _take_signals()
    thresholds = gc.get_threshold()
    try:
        if (code := _left_to_its_retry(step, steps)) is not None:
            return code
        if _resumed(steps) and (code := _load_finished(spec)) is not None:
            log.info("nothing to do: the load test of %s was finished", spec.output)
            return code
        return run_spec(spec, again=partial(read_step_again, read, step))
    except KeyboardInterrupt:
        return tell("interrupted", None, EXIT_INTERRUPTED)
    except BatchKmsError as error:
        return tell_error(error)
    finally:
        # A run collects seldom and leaves what it has loaded out of it: here its rest goes.
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        gc.collect()


def _resumed(steps: list[Step]) -> bool:
    """Whether the list is resumed. A load test has no such option: other steps say it."""
    return any(step.spec.resume for step in steps)


def _load_finished(spec: JobSpec) -> int | None:
    """The exit code of a load test that came to its end and whose results are there."""
    record = _load_record(spec)
    if record is None or record.state != "finished" or not Path(spec.output).exists():
        return None
    return int(Exit.OK) if record.exit_code is None else record.exit_code


def _load_record(spec: JobSpec) -> RunRecord | None:
    """What a load test has left of itself. Raises InputError."""
    if spec.command != "loadtest" or spec.output in ("", "-"):
        return None
    from batchkms.loadtest.reading import read_record

    return read_record(Path(spec.output))


def _resumable(step: Step, steps: list[Step]) -> Step:
    """The step; one that begins a load test anew may replace what an unfinished one has left."""
    spec = step.spec
    if not _resumed(steps) or spec.command != "loadtest" or spec.output in ("", "-"):
        return step
    left = Path(f"{spec.output}.partial").exists() and not Path(spec.output).exists()
    try:
        record = _load_record(spec)
    except BatchKmsError:
        return step  # Told when the step itself looks at it.
    if left or (record is not None and record.state in ("interrupted", "aborted")):
        return replace(step, spec=replace(spec, overwrite=True))
    return step


def _left_to_its_retry(step: Step, steps: list[Step]) -> int | None:
    """The exit code of a run that has finished, and whose retry, a later step, has not.

    To resume the run itself would be refused, so that the list would never get to the retry.
    """
    spec = step.spec
    later = [other.spec for other in steps[step.number :] if other.spec.command == "retry"]
    retried = any(other.output == spec.output and other.resume for other in later)
    if not (retried and spec.resume and spec.command != "retry"):
        return None
    manifest = Manifest.load(manifest_path(Path(spec.output)))
    if manifest is None or not manifest.retrying:
        return None
    log.info("nothing to do: %s was finished, and its retry was not", spec.output)
    return int(manifest.content.get("exit_code", Exit.SOME_FAILED))


def _stopped_at(step: Step, steps: list[Step], code: int) -> int:
    left = len(steps) - step.number
    not_begun = f"; {left} not begun" if left else ""
    log.warning(
        "stopped at step %d of %d, exit code %d%s", step.number, len(steps), code, not_begun
    )
    return code


def _take_signals() -> None:
    """What signals do until the step has handlers of its own, which go when it ends.

    SIGTERM is an interrupt like SIGINT. SIGHUP asks for the job file to be read again, and must
    not end a list that is just between two steps.
    """
    if sys.platform == "win32":
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: None)
