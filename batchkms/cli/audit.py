"""`batchkms audit`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import click

from batchkms.cli.inputs import job_of, open_input, refuse_special
from batchkms.cli.logs import ascii_json
from batchkms.cli.main import command_options, printable
from batchkms.cli.streams import put, say
from batchkms.errors import ConfigError, InputError, RunStopped
from batchkms.job import JobSpec, job_from
from batchkms.records import Record, Result
from batchkms.reporting.summary import Exit
from batchkms.rowset import RowSet
from batchkms.runs.audit import Findings, OutputAudit
from batchkms.runs.manifest import Manifest, manifest_path


@click.command(short_help="Check an output against its manifest and input.")
@click.argument("output", required=False, metavar="OUT")
@click.option("--config", metavar="FILE", help="Job file (TOML) with any of these options.")
@click.option("--input", metavar="INPUT", help="Where the input is now.  [default: where it was]")
@command_options("audit", without=("output",))
def audit(output: str | None, config: str | None, input: str | None, **flags: Any) -> None:
    """Checks OUT against its manifest, its rows' checksums and the input of its run.

    Names rows that were edited, added, duplicated, moved or are missing. KMS is not called.
    Exit code 6 if anything differs.
    """
    spec = job_from(
        command="audit",
        input_path=input,
        flags={**flags, "output": output},
        environ=os.environ,
        config=config,
    )
    sys.exit(run_audit(spec))


def run_audit(spec: JobSpec) -> int:
    """Audits `spec.output`, tells what was found, and returns the exit code.

    Raises ConfigError and InputError.
    """
    output = spec.output
    refuse_special(output)
    manifest = _finished(Path(output))
    outcome = OutputAudit(Path(output), manifest.content)
    try:
        outcome.run()
    except OSError as error:
        raise ConfigError(
            f"{output} cannot be read: {error.strerror}",
            hint="name the output of a run, a file that can be read",
        ) from None
    path = None if spec.no_input else spec.input or manifest.content["input"]["path"]
    looked = path is not None and path != "-" and outcome.compared
    if path is not None and looked:
        job = job_of(manifest, output=output, input_path=path, environ={})
        noted = manifest.content["input"].get("sha256")
        asyncio.run(_against_input(job, noted, outcome.rows, outcome.findings))
    _tell(output, outcome, looked=looked, summary=spec.summary)
    return int(_exit(outcome.findings))


def _exit(findings: Findings) -> Exit:
    return Exit.THRESHOLD if findings.counts else Exit.OK


def _finished(output: Path) -> Manifest:
    manifest = Manifest.load(manifest_path(output))
    if manifest is None and (results := _results_beside(output)) is not None:
        raise ConfigError(
            f"{output} was made of its results, and the manifest is theirs",
            hint=f"audit those: batchkms audit {results}",
        )
    if manifest is None or not output.exists():
        raise ConfigError(
            f"there is no output {output} with its manifest {manifest_path(output).name}",
            hint="name the output of a run that has finished",
        )
    if not manifest.finished:
        raise ConfigError(
            f"the run of {output} has not finished", hint="finish it first, with --resume"
        )
    return manifest


def _results_beside(output: Path) -> Path | None:
    """The results of an output that was made with --in-place-column."""
    for suffix in ("jsonl", "csv"):
        results = output.with_name(f"{output.name}.results.{suffix}")
        if manifest_path(results).exists():
            return results
    return None


async def _against_input(
    job: JobSpec, noted: str | None, results: RowSet, findings: Findings
) -> None:
    """Every row of the input must have its result, and every result its row."""
    source = open_input(job)
    left = job.limit
    rows = RowSet()
    try:
        async for batch in source.batches():
            for item in batch if left is None else batch[: max(0, left - len(rows))]:
                _compare(item, rows, results, findings)
    except (RunStopped, InputError) as error:
        findings.add("input", f"the input cannot be read: {error}")
    finally:
        await source.aclose()
    if len(rows) < len(results):
        findings.add("input", f"{len(results) - len(rows):,} rows have a result and no input row")
    if noted and source.sha256 and noted != source.sha256:
        findings.add("input", f"the digest of the input {job.input} is not that of the manifest")


def _compare(item: Record | Result, rows: RowSet, results: RowSet, findings: Findings) -> None:
    if not rows.add(item.seq):
        findings.add("input", f"row {item.seq} is in the input twice")
    elif item.seq not in results:
        findings.add("missing", f"row {item.seq} of the input has no result")


def _tell(output: str, outcome: OutputAudit, *, looked: bool, summary: str) -> None:
    findings = outcome.findings
    if summary == "json":
        put(
            ascii_json(
                {
                    "command": "audit",
                    "exit_code": int(_exit(findings)),
                    "output": output,
                    "rows": len(outcome.rows),
                    "differences": dict(findings.counts),
                    "named": findings.named,
                    "input_checked": looked,
                }
            )
        )
        return
    for line in findings.named:
        say(f"batchkms: {printable(line)}")
    for kind, count in findings.counts.items():
        if count > 1:
            say(f"batchkms: {kind}: {count:,}")
    against = "manifest and input" if looked else "manifest; the input was not looked at"
    verdict = "differs" if findings.counts else "is as its run left it"
    say(f"batchkms: {output} ({len(outcome.rows):,} rows) {verdict}, checked against its {against}")
