"""How a run begins: afresh, or with the rows that an earlier one has done."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import Any

from batchkms.errors import ConfigError
from batchkms.rowset import RowSet
from batchkms.runs.earlier import (
    Identity,
    Left,
    find_earlier,
    refuse_other,
    refuse_smaller_part,
)
from batchkms.runs.fileoutput import FileOutput
from batchkms.runs.fingerprint import MOST_HELD_BYTES, InputRows, Prefix
from batchkms.runs.kept import keep_partial
from batchkms.runs.manifest import Manifest, manifest_path
from batchkms.runs.resultfile import sink_of_output
from batchkms.runs.retrying import Retrying, Selection, manifest_to_retry
from batchkms.runs.stdout import StdoutOutput
from batchkms.tally import Tally

log = logging.getLogger(__name__)


class AlreadyFinished(Exception):
    """The run came to its end earlier; there is nothing to do."""

    def __init__(self, output: str, content: dict[str, Any]) -> None:
        super().__init__(output)
        self.output = output
        self.ended_at = str(content.get("ended_at", "an unknown time"))
        self.exit_code = int(content.get("exit_code", 0))
        self.failed = 0 if content.get("counts") is None else int(content["counts"]["failed"])
        self._content = content

    def as_json(self) -> dict[str, Any]:
        """What the manifest keeps of a summary."""
        content = self._content
        kept = {name: content.get(name) for name in ("command", "state", "exit_code")}
        return {**kept, **content.get("counts", {}), "output": self.output}


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A run that has begun. `done` are the rows that it need not do.

    `expected` is how the input must begin. `manifest` is None for stdout.
    """

    identity: Identity
    output: FileOutput | StdoutOutput
    done: RowSet
    expected: Prefix | None = None
    manifest: Manifest | None = None
    opened: bool = False
    resumed: bool = False
    retrying: Retrying | None = None
    selection: Selection | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether no row of it was done or read before."""
        return self.expected is None and self.retrying is None and not len(self.done)

    def input_rows(self) -> InputRows:
        """The rows of the input, less those that are done."""
        # Without a retry only rows can be waiting that were under way when the run died.
        most = MOST_HELD_BYTES if self.retrying is not None else None
        return InputRows(done=self.done, expected=self.expected, most_held_bytes=most)

    def make_files(self) -> None:
        """Makes the partial output and the manifest, before the first row is sent.

        Raises ConfigError, and then nothing new is left behind.
        """
        output, identity = self.output, self.identity
        if self.manifest is None or isinstance(output, StdoutOutput):
            return
        if self.retrying is not None and self.selection is not None:
            classes = self.selection.classes
            self.manifest.retry(
                sha256=self.retrying.sha256,
                classes=sorted(classes) if classes is not None else None,
                kept_rows=len(self.done),
            )
            self.retrying.copy_rows()
            return
        if self.resumed:
            self.manifest.resume(
                input=dict(identity.input),
                kept_rows=len(self.done),
                settings=dict(identity.settings),
            )
            return
        if not self.opened:
            output.create()
        try:
            self.manifest.begin(
                command=identity.command,
                input=dict(identity.input),
                output=dict(identity.output),
                settings=dict(identity.settings),
            )
        except ConfigError:
            output.discard()
            raise


def begin_run(
    output: FileOutput | StdoutOutput, identity: Identity, *, resume: bool, tally: Tally
) -> Begun:
    """Looks at what an earlier run has left, and counts in `tally` what is kept of it.

    With `resume` the partial output is open and locked then; else nothing is made yet.

    Raises AlreadyFinished, and ConfigError if the output cannot be written, another run writes
    it, or what is there is of another run or of another input.
    """
    if isinstance(output, StdoutOutput):
        return Begun(identity=identity, output=output, done=RowSet())
    left, manifest = find_earlier(output) if resume else (Left.NOTHING, None)
    if manifest is not None:
        refuse_other(manifest, identity)
        refuse_smaller_part(manifest, identity, finished=left is Left.FINISHED)
    if left is Left.FINISHED and manifest is not None:
        _refuse_changed(manifest, identity)
        raise AlreadyFinished(str(output.path), manifest.content)
    if manifest is not None and manifest.content.get("merged"):
        raise ConfigError(
            f"{output.partial} is what a merge of shares has left that did not end",
            hint="merge the shares again: that begins anew",
        )
    if left is Left.NOTHING:
        fresh = Manifest(manifest_path(output.path))
        return Begun(identity=identity, output=output, done=RowSet(), manifest=fresh)
    return _go_on(output, identity, manifest, tally)


def begin_retry(
    output: FileOutput, identity: Identity, selection: Selection, *, resume: bool, tally: Tally
) -> Begun:
    """Looks at which rows of a finished output are to be done again; the others are kept.

    The partial output is locked first, so that nothing changes what was looked at.

    Raises AlreadyFinished if there is none, and ConfigError as `begin_run` does.
    """
    manifest_to_retry(output.path)
    output.claim()
    manifest = manifest_to_retry(output.path)
    refuse_other(manifest, identity)
    if resume:
        selection = selection.or_of(manifest)
    retrying = Retrying(output, manifest, selection, resume=resume, tally=tally)
    if not retrying.selected and not retrying.resumed:
        manifest.published()
        raise AlreadyFinished(str(output.path), manifest.content)
    return Begun(
        identity=identity,
        output=output,
        done=retrying.done,
        expected=_unless_known(manifest, identity),
        manifest=manifest,
        retrying=retrying,
        selection=selection,
    )


def _unless_known(manifest: Manifest, identity: Identity) -> Prefix | None:
    """The rows that the input must begin with, None if the whole file is known to be the same.

    All rows were read by a run that has finished: to compare them while they are sent, every
    failed one would have to be held until the last one was read.
    """
    same = _is_same_file(manifest, identity)
    if same is None and manifest.read is None and manifest.content.get("merged"):
        _refuse_unknown(manifest, identity)
    if same is None:
        return manifest.read
    if not same:
        raise ConfigError(
            f"{identity.input_path} is another input than that of the run",
            hint="restore it, or name the right one with --input",
        )
    return None


def _refuse_unknown(manifest: Manifest, identity: Identity) -> None:
    """Raises ConfigError: nothing says which rows the input of merged shares begins with."""
    name = "stdin" if identity.input_path == "-" else identity.input_path
    raise ConfigError(
        f"{manifest.path} is of merged shares, and {name} cannot be compared with their input",
        hint="name the input by --input FILE, with the very bytes that the shares have read",
    )


def _refuse_changed(manifest: Manifest, identity: Identity) -> None:
    """Raises ConfigError if the input is a file and not the one that the run has read.

    Nothing is sent that could be compared on the way, and rows that were changed would be taken
    for done.
    """
    if _is_same_file(manifest, identity) is False:
        raise ConfigError(
            f"{identity.input_path} was changed since its run finished, and what it holds now is "
            "not done",
            hint="restore it, begin anew with --overwrite, or name another output with -o",
        )


def _is_same_file(manifest: Manifest, identity: Identity) -> bool | None:
    """Whether the input is the very file that the run has read; None where that is not known."""
    noted = manifest.content["input"].get("sha256")
    is_file = identity.input_path != "-" and "size_bytes" in identity.input
    if noted is None or not is_file:
        return None
    with open(identity.input_path, "rb") as file:
        return bool(hashlib.file_digest(file, "sha256").hexdigest() == noted)


def _go_on(
    output: FileOutput, identity: Identity, manifest: Manifest | None, tally: Tally
) -> Begun:
    if manifest is not None:
        output.overwrite = bool(manifest.content["output"].get("overwrite"))
    if output.path.exists() and not output.overwrite:
        raise ConfigError(
            f"{output.path} is there beside {output.partial}, and its run was not to replace it",
            hint="move one of them away",
        )
    try:
        kept = keep_partial(output, sink_of_output(identity.output), tally)
    except BaseException:
        output.close()
        raise
    log.info(
        "resuming: %s rows are kept%s",
        f"{len(kept.rows):,}",
        f"; {kept.cut_bytes:,} bytes of a torn row were cut off" if kept.cut_bytes else "",
    )
    return Begun(
        identity=identity,
        output=output,
        opened=True,
        done=kept.rows,
        expected=manifest.read if manifest is not None else None,
        manifest=manifest or Manifest(manifest_path(output.path)),
        resumed=manifest is not None,
    )
