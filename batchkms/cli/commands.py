"""Which function runs the job of each command: the one table from a JobSpec to an exit code."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from batchkms.job import JobSpec

_RUNNERS = {
    "check": "batchkms.cli.check:run_check",
    "encrypt": "batchkms.cli.batch:run_job",
    "reencrypt": "batchkms.cli.batch:run_job",
    "decrypt": "batchkms.cli.batch:run_job",
    "retry": "batchkms.cli.retry:run_retry",
    "audit": "batchkms.cli.audit:run_audit",
    "verify": "batchkms.cli.verify:run_verify",
    "inspect": "batchkms.cli.inspect:run_inspect",
    "loadtest": "batchkms.cli.loadtest:run_loadtest",
}
"""Where the function of each command is; none is imported before it is called."""

_RELOADED = ("encrypt", "reencrypt", "decrypt", "retry", "verify")
"""Commands that take another rate in the middle of a run."""

RUNNABLE = tuple(_RUNNERS)
"""The commands that a step of a job file may name."""


def run_spec(spec: JobSpec, *, again: Callable[[], JobSpec]) -> int:
    """Runs the job of any command to its end and returns the exit code.

    `again` reads the job anew, for SIGHUP. Raises what the command raises: a BatchKmsError.
    """
    module, _, name = _RUNNERS[spec.command].partition(":")
    runner: Callable[..., int] = getattr(importlib.import_module(module), name)
    more: dict[str, Any] = {"again": again} if spec.command in _RELOADED else {}
    return runner(spec, **more)
