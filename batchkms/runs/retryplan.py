"""`batchkms retry --dry-run`: what a retry would do. Nothing is written and nothing locked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from batchkms.errors import ConfigError
from batchkms.records import ErrorClass
from batchkms.rowset import RowSet
from batchkms.runs.manifest import Manifest
from batchkms.runs.resultfile import BadResultFile, read_good_rows, read_results, sink_of_output
from batchkms.runs.retrying import Selection


@dataclass(slots=True)
class RetryPlan:
    """Rows of an output: how many there are, how many would be done again and which are left.

    `selected` and `left` count failed rows by class.
    """

    rows: int = 0
    selected: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)


def plan_retry(
    output: Path, manifest: Manifest, selection: Selection, *, resume: bool
) -> RetryPlan:
    """Reads an output and counts. Raises ConfigError where the retry itself would."""
    plan, selection = RetryPlan(), selection.or_of(manifest)
    sink = sink_of_output(manifest.content["output"])
    done = RowSet()
    partial = output.with_name(f"{output.name}.partial")
    try:
        if partial.exists() and partial.stat().st_size:
            if not resume:
                raise ConfigError(
                    f"{partial} is of a retry that did not end",
                    hint="go on with it by --resume, or remove it",
                )
            with partial.open("rb") as file:
                for _, row in read_good_rows(file, sink):
                    if not isinstance(row, BadResultFile):
                        done.add(row.result.seq)
        with output.open("rb") as file:
            for row in read_results(file, sink):
                plan.rows += 1
                result = row.result
                if not result.ok and result.seq not in done:
                    counted = plan.selected if selection.takes(result) else plan.left
                    counted[result.error_class or ErrorClass.UNKNOWN] += 1
    except BadResultFile as bad:
        raise ConfigError(
            f"{output} is not as its run left it: line {bad.line}: {bad.reason}",
            hint="batchkms audit names what was changed; restore the file to retry its rows",
        ) from None
    except OSError as error:
        raise ConfigError(f"{output} cannot be read: {error.strerror}") from None
    return plan
