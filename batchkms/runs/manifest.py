"""The manifest of a run, `OUT.run.json`: what ran, on which input, how, and how it ended.

It is on the disk before the first row and replaced as a whole, so that it always parses. It
names keys and settings, never a secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import msgspec
import orjson

from batchkms._version import __version__
from batchkms.errors import ConfigError, OutputError
from batchkms.runs.files import read_small, replace_file
from batchkms.runs.fingerprint import Prefix
from batchkms.runs.manifestcontent import check_content
from batchkms.tally import Tally

FORMAT_VERSION = 1

LONGEST_BYTES = 64 * 1024 * 1024
"""Far over the longest timeline and the most keys."""


def manifest_path(output: Path) -> Path:
    """Where the manifest of an output is. Raises ConfigError for `.` or `/`, which is no file."""
    if not output.name:
        raise ConfigError(f"{output} is a folder", hint="name one file in it")
    return output.with_name(f"{output.name}.run.json")


@dataclass(slots=True)
class Manifest:
    """The manifest of one output. `begin`, `resume`, `progress`, `change` and `end` write it."""

    path: Path
    content: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """The manifest that is there, None if there is none. Raises ConfigError."""
        try:
            content = orjson.loads(read_small(path, LONGEST_BYTES))
            if content["format"] != FORMAT_VERSION:
                raise ConfigError(
                    f"{path} has the format {content['format']!r}, and this batchkms reads "
                    f"{FORMAT_VERSION}",
                    hint="use the batchkms that wrote it",
                )
            check_content(content)
            # What is nested too deeply could not be written again.
            orjson.dumps(content)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be read: {error.strerror}",
                hint="check what is there, and its permissions",
            ) from None
        except (
            orjson.JSONDecodeError,
            msgspec.ValidationError,
            KeyError,
            TypeError,
            RecursionError,
        ):
            raise ConfigError(
                f"{path} is no manifest", hint="restore it, or begin anew with --overwrite"
            ) from None
        return cls(path, content)

    @property
    def finished(self) -> bool:
        """Whether its run came to its end."""
        return bool(self.content.get("state") == "finished")

    @property
    def retrying(self) -> bool:
        """Whether its output is complete, and a retry of failed rows has not ended."""
        return "retrying" in self.content

    @property
    def sha256_to_retry(self) -> str | None:
        """The digest of the output whose failed rows are retried."""
        noted = self.content.get("retrying") or {"sha256": self.content["output"].get("sha256")}
        return noted["sha256"]  # type: ignore[no-any-return]  # as `end` wrote it

    @property
    def read(self) -> Prefix | None:
        """The rows that its run is known to have read."""
        read = self.content["input"].get("read")
        if not read or not read["rows"]:
            return None
        return Prefix(read["rows"], read["sha256"], read.get("broken", False))

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
        self._save_first()

    def resume(self, *, input: dict[str, Any], kept_rows: int, settings: dict[str, Any]) -> None:
        """Notes that the run goes on, with an input that may have been mended.

        Raises ConfigError.
        """
        self.content["input"] |= input
        # A merge that died left shares' results; from here on they are those of this run.
        for name in ("ended_at", "exit_code", "reason", "counts", "merged"):
            self.content.pop(name, None)
        noted = {"at": _now(), "kept_rows": kept_rows, "batchkms": __version__}
        self.content["resumed"] = [*self.content.get("resumed", []), noted]
        self.content |= {"state": "running", "settings": settings}
        self._save_first()

    def retry(self, *, sha256: str, classes: list[str] | None, kept_rows: int) -> None:
        """Notes that failed rows of the output with this digest are done again.

        Raises ConfigError.
        """
        noted = {"at": _now(), "classes": classes, "kept_rows": kept_rows}
        self.content["retrying"] = {"sha256": sha256}
        self.content["retried"] = [*self.content.get("retried", []), noted]
        self.content["state"] = "running"
        self._save_first()

    def progress(self, prefix: Prefix) -> None:
        """Notes how far the input was read. Raises OSError, and the last version stays."""
        broken = {"broken": True} if prefix.broken else {}
        self.content["input"]["read"] = {"rows": prefix.rows, "sha256": prefix.sha256, **broken}
        self._save()

    def change(self, settings: dict[str, Any], *, calls_per_second: int | None) -> None:
        """Notes that settings were changed in the middle of the run, and to which rate.

        That is the one that the run keeps to from now on, None for no limit.
        """
        noted = {"at": _now(), **settings, "calls_per_second": calls_per_second}
        self.content["changed"] = [*self.content.get("changed", []), noted]
        self.content["settings"] |= settings

    def end(
        self,
        *,
        state: str,
        exit_code: int,
        reason: str | None,
        tally: Tally,
        prefix: Prefix,
        input_sha256: str | None,
        output_sha256: str | None,
        output_bytes: int,
        output_rows: int | None,
    ) -> None:
        """Writes the last version. Raises OutputError; an earlier one is still there then."""
        self.content |= {
            "state": state,
            "ended_at": _now(),
            "exit_code": exit_code,
            "counts": counts(tally),
        }
        self.content.pop("reason", None)
        if reason is not None:
            self.content["reason"] = reason
        self.content["input"]["sha256"] = input_sha256
        self.content["output"] |= {
            "sha256": output_sha256,
            "size_bytes": output_bytes,
            "rows": output_rows,
        }
        try:
            self.progress(prefix)
        except OSError as error:
            raise OutputError(
                f"the manifest {self.path} cannot be written: {error.strerror}",
                hint="the results are kept; mend the cause, then run again with --resume",
            ) from None

    def published(self) -> None:
        """Notes that the output has its name and no retry goes on. Raises OutputError."""
        if self.content.pop("retrying", None) is not None:
            self.content["state"] = "finished"
            try:
                self._save()
            except OSError as error:
                raise OutputError(
                    f"the manifest {self.path} cannot be written: {error.strerror}",
                    hint="the results are complete; run the retry again with --resume",
                ) from None

    @property
    def timeline(self) -> list[dict[str, Any]]:
        """How its run went over time, a segment for each attempt; see `reporting.timeline`."""
        return self.content.get("timeline", [])  # type: ignore[no-any-return]  # `check_content` has looked

    def note_timeline(self, segments: list[dict[str, Any]]) -> None:
        """Notes the same; it is written with whatever is written next."""
        self.content["timeline"] = segments

    @property
    def in_place(self) -> dict[str, Any]:
        """What is noted of the file that was made of the input and the results; may be empty."""
        noted = self.content.get("in_place")
        return noted if isinstance(noted, dict) else {}

    def note_in_place(self, noted: dict[str, Any]) -> None:
        """Notes what that file is. Raises OutputError."""
        self.content["in_place"] = noted
        try:
            self._save()
        except OSError as error:
            raise OutputError(
                f"the manifest {self.path} cannot be written: {error.strerror}",
                hint="the results are complete; mend the cause, then run again with --resume",
            ) from None

    def note_shard(self, noted: dict[str, Any] | None) -> None:
        """Notes which share of the input its run has done, and at which rate; None for all of it.

        It is written with whatever is written next.
        """
        if noted is not None:
            self.content["shard"] = noted

    def replace(self, content: dict[str, Any]) -> None:
        """Writes a version that is made of others: of runs that are merged. Raises OutputError."""
        self.content = content
        try:
            self._save()
        except OSError as error:
            raise OutputError(
                f"the manifest {self.path} cannot be written: {error.strerror}",
                hint="check the permissions and the space of its folder",
            ) from None

    def _save_first(self) -> None:
        try:
            self._save()
        except OSError as error:
            raise ConfigError(
                f"the manifest {self.path} cannot be written: {error.strerror}",
                hint="check the permissions and the space of its folder, or another -o",
            ) from None

    def _save(self) -> None:
        content = orjson.dumps(_laid_out(self.content), option=orjson.OPT_INDENT_2)
        replace_file(self.path, content + b"\n")


def _laid_out(content: dict[str, Any]) -> dict[str, Any]:
    """The content with every window of its timeline on one line, so that people can read it."""
    if "timeline" not in content:
        return content
    timeline = [
        {**segment, "windows": [orjson.Fragment(orjson.dumps(w)) for w in segment["windows"]]}
        for segment in content["timeline"]
    ]
    return {**content, "timeline": timeline}


def counts(tally: Tally) -> dict[str, Any]:
    """The counts of a run as the manifest keeps them, rows of earlier parts of it included."""
    return {
        "rows": tally.rows,
        "ok": tally.ok,
        "failed": tally.failed,
        "by_class": {str(name): rows for name, rows in tally.by_class.items()},
        "by_key": dict(tally.by_key),
        "calls": tally.calls + tally.kept_calls,
        "retries": tally.retries,
        "throttled": tally.throttled,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
