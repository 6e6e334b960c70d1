"""`batchkms merge`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from batchkms.cli.inputs import refuse_special
from batchkms.cli.main import tell
from batchkms.cli.running import end_on_signals
from batchkms.cli.telling import summary_option, told
from batchkms.errors import BatchKmsError, OutputError
from batchkms.reporting.summary import Exit, State, Summary, exit_code
from batchkms.reporting.timeline import together
from batchkms.runs.merging import Merge, open_merged, unfinished
from batchkms.runs.shares import NotAsLeft, Share, read_shares
from batchkms.tally import Tally


@click.command(short_help="Make one output of the outputs of all shares.")
@click.argument("shares", nargs=-1, required=True, metavar="OUT1 OUT2…")
@click.option("-o", "--output", required=True, metavar="FILE", help="Where the results go.")
@click.option("--overwrite", is_flag=True, help="Replace an old output.")
@click.option(
    "--ordered",
    is_flag=True,
    help="Write the results by their seq.  [default: if every share was --ordered]",
)
@summary_option
def merge(
    shares: tuple[str, ...],
    output: str,
    overwrite: bool,
    ordered: bool,
    summary: Literal["text", "json"],
) -> None:
    """Makes one output of the outputs of encrypt, reencrypt or decrypt with --shard, in any order.

    Named are the outputs of every share, each with its .run.json beside it. They must be of one
    command on one input with the same settings, finished, and as their runs left them: that is
    seen from their manifests, and from the digest of each file while it is read. The result has
    a manifest of its own, so that audit, verify, decrypt, retry and report take it like the output
    of one run; the shares stay as they are. KMS is not called.

    The exit code is that of a run with these rows; 2 if the shares do not fit together, 6 if one
    was changed, 3 if the results cannot be written. A merge that died is simply run again.
    """
    sys.exit(run_merge(shares, output, overwrite=overwrite, ordered=ordered, summary=summary))


def run_merge(
    paths: Sequence[str],
    output: str,
    *,
    overwrite: bool,
    ordered: bool,
    summary: Literal["text", "json"],
) -> int:
    """Merges outputs and returns the exit code. Raises ConfigError and OutputError."""
    began_s = time.monotonic()
    end_on_signals()
    for path in paths:
        refuse_special(path)
    try:
        shares = read_shares([Path(path) for path in paths])
        merging = _merge(shares, output, overwrite=overwrite, ordered=ordered)
        merging.run()
    except NotAsLeft as error:
        return tell(str(error), error.hint, Exit.THRESHOLD)
    except OutputError as error:
        raise unfinished(error) from None
    made = Summary(
        command="merge",
        state=State.FINISHED,
        tally=merging.tally,
        wall_s=time.monotonic() - began_s,
        output=output,
        manifest=str(merging.manifest.path),
        rate=None,
    )
    return told(_Merged(made, shares, merging.ordered), summary, of="input")


def _merge(shares: Sequence[Share], output: str, *, overwrite: bool, ordered: bool) -> Merge:
    return Merge(
        shares=shares,
        output=open_merged(output, shares, overwrite=overwrite),
        ordered=ordered or all(share.content["settings"].get("ordered") for share in shares),
        timeline=together(share.content.get("timeline", []) for share in shares),
        tally=Tally(),
        exit_code=lambda tally: int(exit_code(tally, State.FINISHED)),
    )


@dataclass(frozen=True, slots=True)
class _Merged:
    """What is told of a merge: the summary of the rows, and of which files they are."""

    summary: Summary
    shares: Sequence[Share]
    ordered: bool

    @property
    def exit_code(self) -> Exit:
        """The exit code of a run with these rows."""
        return self.summary.exit_code

    @property
    def error(self) -> BatchKmsError | None:
        """Nothing: what stops a merge leaves no summary."""
        return None

    def as_text(self) -> list[str]:
        """The summary for people, line by line."""
        order = "by seq" if self.ordered else "one share after the other"
        merged = ", ".join(f"{share.path} ({share.rows:,})" for share in self.shares[:20])
        more = f" and {len(self.shares) - 20:,} more" if self.shares[20:] else ""
        return [*self.summary.as_text(), f"merged: {merged}{more}, {order}"]

    def as_json(self) -> dict[str, Any]:
        """The summary for programs."""
        return {
            **self.summary.as_json(),
            "ordered": self.ordered,
            "shares": [
                {"shard": str(share.shard), "output": str(share.path), "rows": share.rows}
                for share in self.shares
            ],
        }
