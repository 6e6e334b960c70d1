"""`batchkms audit`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from batchkms.cli.inputs import job_of, open_input
from batchkms.cli.logs import ascii_json
from batchkms.cli.main import printable
from batchkms.cli.streams import put, say
from batchkms.errors import ConfigError, InputError, RunStopped
from batchkms.records import Record, Result
from batchkms.reporting.summary import Exit
from batchkms.rowset import RowSet
from batchkms.runs.audit import Findings, OutputAudit
from batchkms.runs.manifest import Manifest, manifest_path


@click.command(short_help="Check an output against its manifest and input.")
@click.argument("output", metavar="OUT")
@click.option("--input", metavar="INPUT", help="Where the input is now.  [default: where it was]")
@click.option("--no-input", is_flag=True, help="Do not look at the input.")
@click.option(
    "--summary",
    type=click.Choice(["text", "json"]),
    default="text",
    help="Findings: text on stderr, or json on stdout.",
)
def audit(output: str, input: str | None, no_input: bool, summary: str) -> None:
    """Checks OUT against its manifest, its rows' checksums and the input of its run.

    Names rows that were edited, added, duplicated, moved or are missing. KMS is not called.
    Exit code 6 if anything differs.
    """
    manifest = _finished(Path(output))
    outcome = OutputAudit(Path(output), manifest.content)
    try:
        outcome.run()
    except OSError as error:
        raise ConfigError(f"{output} cannot be read: {error.strerror}", hint="check OUT") from None
    path = None if no_input else input or manifest.content["input"]["path"]
    looked = path is not None and path != "-"
    if path is not None and looked:
        asyncio.run(_against_input(path, output, manifest, outcome.rows, outcome.findings))
    _tell(output, outcome, looked=looked, summary=summary)
    sys.exit(int(Exit.THRESHOLD if outcome.findings.counts else Exit.OK))


def _finished(output: Path) -> Manifest:
    manifest = Manifest.load(manifest_path(output))
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


async def _against_input(
    path: str, output: str, manifest: Manifest, results: RowSet, findings: Findings
) -> None:
    """Every row of the input must have its result, and every result its row."""
    spec = job_of(manifest, output=output, input_path=path, environ={})
    source = open_input(spec)
    left = spec.limit
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
    noted = manifest.content["input"].get("sha256")
    if noted and source.sha256 and noted != source.sha256:
        findings.add("input", f"the digest of the input {path} is not that of the manifest")


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
