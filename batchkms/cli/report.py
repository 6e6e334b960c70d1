"""`batchkms report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import click

from batchkms.cli.inputs import refuse_special
from batchkms.cli.logs import ascii_json
from batchkms.cli.main import printable
from batchkms.cli.streams import put, say
from batchkms.cli.telling import summary_option
from batchkms.errors import ConfigError, InputError
from batchkms.reporting.html import require_report
from batchkms.runs.output import refuse_file, write_whole

Summary = Literal["text", "json"]


@click.command(short_help="Make an HTML report of result files.")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where the report goes; - is stdout.  [default: the first FILE with .html behind it]",
)
@click.option("--overwrite", is_flag=True, help="Replace an old output.")
@summary_option
def report(files: tuple[str, ...], output: str | None, overwrite: bool, summary: Summary) -> None:
    """Makes one self-contained HTML file of the results of a load test or of a batch run.

    FILE is what batchkms loadtest -o wrote, also .gz or .partial; several are those of generators
    that tested together, and become one report. Or it is the output of encrypt, reencrypt or
    decrypt. What is beside it as FILE.run.json is used as well. The report opens offline, holds
    no plaintext and no ciphertext, and needs the extra batchkms[report].
    """
    if output == "-" and summary == "json":
        raise ConfigError(
            "the report and the JSON summary cannot both go to stdout",
            hint="name a file with -o",
        )
    require_report()
    path = None if output == "-" else Path(output or f"{files[0]}.html")
    for file in files:
        refuse_special(file)
    if path is not None:
        refuse_file(path, option="-o", overwrite=overwrite, inputs=files)
    title, lines, figures, html = _made(files)
    if path is None:
        put(html.encode("utf-8"))
    else:
        write_whole(path, html.encode("utf-8"))
    if summary == "json":
        put(ascii_json({**figures, "report": str(path)}))
        return
    for line in (f"{title}:", *lines, f"report: {'stdout' if path is None else path}"):
        say(f"batchkms: {printable(line)}")


def _made(files: Sequence[str]) -> tuple[str, list[str], dict[str, Any], str]:
    """The title of the report, its summary as text and as JSON, and its HTML."""
    from batchkms.cli.kinds import kind_of

    kinds = {kind_of(file) for file in files}
    if kinds == {"loadtest"}:
        return _of_loadtest(files)
    if len(files) > 1:
        raise ConfigError(
            "the results of batch runs are reported one by one",
            hint="give one FILE, or several of one load test",
        )
    from batchkms.reporting.batchfigures import read_batch
    from batchkms.reporting.html.batch import render_batch

    figures, title = read_batch(files[0]), Path(files[0]).name
    return title, figures.as_text(), figures.as_json(), render_batch(figures, title)


def _of_loadtest(files: Sequence[str]) -> tuple[str, list[str], dict[str, Any], str]:
    from batchkms.loadtest.figures import as_json, as_text
    from batchkms.loadtest.merge import merge
    from batchkms.loadtest.report import render_loadtest

    merged, title = merge(files), " + ".join(Path(file).name for file in files)
    if not (merged.statistics.calls or merged.statistics.warmup_calls or merged.records):
        raise InputError(f"{title} holds no calls", hint="check that it is the right file")
    html = render_loadtest(
        merged.statistics, merged.records, title, names=merged.names, remarks=merged.notes
    )
    lines = as_text(merged.statistics, merged.records)
    lines += [f"note: {note}" for note in merged.notes]
    return title, lines, as_json(merged.statistics, merged.records), html
