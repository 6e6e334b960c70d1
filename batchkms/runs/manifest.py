"""The manifest of a run, `OUT.run.json`: what ran, on which input, how, and how it ended.

It is on the disk before the first row and replaced as a whole at the end, so that it always
parses. It names keys and settings, never a secret.
"""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from batchkms._version import __version__
from batchkms.errors import ConfigError, OutputError
from batchkms.runs.files import replace_file
from batchkms.tally import Tally

FORMAT_VERSION = 1

HEAD_BYTES = 64 * 1024
"""So much of an input is fingerprinted before the run; the rest is while it is read."""


def manifest_path(output: Path) -> Path:
    """Where the manifest of an output is."""
    return output.with_name(f"{output.name}.run.json")


@dataclass(slots=True)
class Manifest:
    """The manifest of one output. Changes reach the disk with `save`."""

    path: Path
    content: dict[str, Any] = field(default_factory=dict)

    def begin(
        self,
        *,
        command: str,
        input: dict[str, Any],
        output: dict[str, Any],
        settings: dict[str, Any],
    ) -> None:
        """Writes the first version. Raises ConfigError."""
        self.content = {
            "format": FORMAT_VERSION,
            "batchkms": __version__,
            "command": command,
            "state": "running",
            "started_at": _now(),
            "input": input,
            "output": output,
            "settings": settings,
        }
        try:
            self._save()
        except OSError as error:
            raise ConfigError(
                f"the manifest {self.path} cannot be written: {error.strerror}",
                hint="check the permissions and the space of its folder, or another -o",
            ) from None

    def end(
        self,
        *,
        state: str,
        exit_code: int,
        reason: str | None,
        tally: Tally,
        input_sha256: str | None,
        output_sha256: str | None,
        output_bytes: int,
    ) -> None:
        """Writes the last version. Raises OutputError; the first one is still there then."""
        self.content |= {
            "state": state,
            "ended_at": _now(),
            "exit_code": exit_code,
            "counts": counts(tally),
        }
        if reason is not None:
            self.content["reason"] = reason
        self.content["input"]["sha256"] = input_sha256
        self.content["output"] |= {"sha256": output_sha256, "size_bytes": output_bytes}
        try:
            self._save()
        except OSError as error:
            raise OutputError(
                f"the manifest {self.path} cannot be written: {error.strerror}",
                hint="the results are complete; only the manifest still says that the run goes on",
            ) from None

    def _save(self) -> None:
        replace_file(self.path, orjson.dumps(self.content, option=orjson.OPT_INDENT_2) + b"\n")


def counts(tally: Tally) -> dict[str, Any]:
    """The counts of a run as the manifest keeps them."""
    return {
        "rows": tally.rows,
        "ok": tally.ok,
        "failed": tally.failed,
        "by_class": {str(name): rows for name, rows in tally.by_class.items()},
        "by_key": dict(tally.by_key),
        "calls": tally.calls,
        "retries": tally.retries,
        "throttled": tally.throttled,
    }


def input_description(path: str, *, format: str, size_bytes: int | None) -> dict[str, Any]:
    """An input as the manifest keeps it, with the SHA-256 of its head if it is a file."""
    described: dict[str, Any] = {
        "path": path if path == "-" else str(Path(path).absolute()),
        "format": format,
    }
    if size_bytes is not None:
        described["size_bytes"] = size_bytes
    if path != "-" and (head := _head(Path(path))) is not None:
        described["head_sha256"] = hashlib.sha256(head).hexdigest()
    return described


def _head(path: Path) -> bytes | None:
    try:
        # Opening a FIFO here would take its first bytes away from the run.
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
