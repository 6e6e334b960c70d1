"""What an earlier run has left, and whether this run may go on with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from batchkms.errors import ConfigError
from batchkms.runs.fileoutput import FileOutput
from batchkms.runs.manifest import Manifest, manifest_path


class Left(Enum):
    """What there is."""

    NOTHING = auto()
    PARTIAL = auto()
    FINISHED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a run is about: another of any of these would make a different output.

    `settings` are all of them, of which only some count; `input` and `output` are as the
    manifest keeps them.
    """

    command: str
    settings: Mapping[str, Any]
    input_path: str
    input: Mapping[str, Any]
    output: Mapping[str, Any]


IDENTITY_SETTINGS = (
    "shard",
    "key_id",
    "key_field",
    "region",
    "id_field",
    "plaintext_field",
    "context_field",
    "encoding",
    *("input_profile", "keep", "mode", "oversize"),
    *("ciphertext_field", "destination_context_field"),
    *("source_region", "source_endpoint", "source_profile"),
)


def find_earlier(output: FileOutput) -> tuple[Left, Manifest | None]:
    """What is there under the names of an output.

    Raises ConfigError if that makes no sense, or if another run is writing it.
    """
    output.refuse_if_written()
    manifest = Manifest.load(manifest_path(output.path))
    if manifest is not None and manifest.retrying:
        raise ConfigError(
            f"a retry of {output.path} has not ended",
            hint=f"go on with it: batchkms retry {output.path} --resume",
        )
    if output.partial.exists() and not _is_claim(output, manifest):
        if manifest is None and output.partial.stat().st_size:
            raise ConfigError(
                f"{output.partial} has no manifest {manifest_path(output.path).name} beside it, "
                "so that nothing says what it is of",
                hint="restore the manifest, or begin anew with --overwrite",
            )
        # A partial file that is empty and alone: its run died before it had a manifest.
        return Left.PARTIAL, manifest
    if not output.path.exists():
        return Left.NOTHING, None
    if manifest is None or not manifest.finished:
        raise ConfigError(
            f"{output.path} is there, and nothing says that its run has finished",
            hint="name another output with -o, or begin anew with --overwrite",
        )
    return Left.FINISHED, manifest


def _is_claim(output: FileOutput, manifest: Manifest | None) -> bool:
    """Whether the partial file is of a retry that died before it had changed anything."""
    return (
        manifest is not None
        and manifest.finished
        and output.path.exists()
        and not output.partial.stat().st_size
    )


def refuse_other(manifest: Manifest, identity: Identity) -> None:
    """Raises ConfigError, which names every difference, unless the run is the same one."""
    content = manifest.content
    # An input that was damaged has to become another file; the rows that were read must do.
    mended = manifest.read is not None and manifest.read.broken
    differences = [
        _difference("command", content["command"], identity.command),
        _difference("output format", content["output"].get("format"), identity.output["format"]),
        *(
            _difference(f"--{name.replace('_', '-')}", content["settings"].get(name), value)
            for name in IDENTITY_SETTINGS
            for value in [identity.settings.get(name)]
        ),
        *(
            _difference(*of_input(name, content["input"].get(name), value))
            for name, value in identity.input.items()
            # Where one of the two came through a pipe, the rows that were read must do.
            if name == "format" or (name != "path" and not mended and name in content["input"])
        ),
    ]
    told = [difference for difference in differences if difference]
    if told:
        raise ConfigError(
            f"{manifest.path} is of another run: {'; '.join(told)}",
            hint="run again as that run was begun, or begin anew with --overwrite",
        )


def refuse_smaller_part(manifest: Manifest, identity: Identity, *, finished: bool) -> None:
    """Raises ConfigError if the runs are to do different numbers of rows (`--limit`).

    A run that has not ended may go further than it was to at first.
    """
    before, now = manifest.content["settings"].get("limit"), identity.settings.get("limit")
    further = before is not None and (now is None or now >= before)
    if before != now and (finished or not further):
        raise ConfigError(
            f"the --limit of this run was {shown(before)} and is {shown(now)}",
            hint="run again with the limit of that run, or begin anew with --overwrite",
        )


def _difference(name: str, before: Any, now: Any) -> str | None:
    return None if before == now else f"the {name} was {shown(before)} and is {shown(now)}"


def of_input(name: str, before: Any, now: Any) -> tuple[str, Any, Any]:
    """What a message calls something that is known of an input, and both values of it."""
    if name == "size_bytes":
        return "input's size", bytes_shown(before), bytes_shown(now)
    return f"input's {name.replace('_', ' ')}", before, now


def bytes_shown(count: int | None) -> str | None:
    """How many bytes there are, to the last one: two sizes may differ by it alone."""
    return None if count is None else f"{count:,} {'byte' if count == 1 else 'bytes'}"


def shown(value: Any) -> str:
    """A setting as a message shows it: a list with commas, as an option takes it."""
    if value is None:
        return "not given"
    if isinstance(value, list | tuple):
        text = ", ".join(map(str, value)) or "none"
    elif isinstance(value, int) and not isinstance(value, bool):
        text = f"{value:,}"
    else:
        text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
