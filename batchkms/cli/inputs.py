"""The input of a job, opened as the job describes it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from batchkms.errors import ConfigError
from batchkms.job import JobSpec, job_from
from batchkms.runs.files import is_special
from batchkms.runs.manifest import Manifest
from batchkms.sources import input_format, line_reader, longest_row, open_source
from batchkms.sources.base import DEFAULT_FIELDS, Source
from batchkms.sources.jsonl import JsonlReader
from batchkms.sources.shares import SharedSource


def open_input(spec: JobSpec) -> Source:
    """Opens it, as far as its share of it goes. Raises ConfigError and InputError."""
    source = open_source(
        spec.input,
        format=spec.format,
        profile=spec.input_profile,
        fields=spec.fields(),
        needs_key=_needs_key(spec),
        max_plaintext_bytes=spec.max_plaintext_bytes,
    )
    return source if spec.shard is None else SharedSource(source, spec.shard, limit=spec.limit)


def lines_of_input(spec: JobSpec) -> JsonlReader:
    """What makes rows of its lines, if it is JSON Lines."""
    fields = spec.fields()
    return line_reader(
        spec.input,
        fields=fields,
        needs_key=_needs_key(spec),
        max_plaintext_bytes=spec.max_plaintext_bytes,
        longest_row_bytes=longest_row(fields, spec.max_plaintext_bytes),
    )


def _needs_key(spec: JobSpec) -> bool:
    return spec.key_id is None and not spec.emulator and spec.command in ("encrypt", "check")


def format_name(spec: JobSpec) -> str:
    """What a manifest calls the format of the input. Raises ConfigError where nothing tells it."""
    return spec.input_profile or input_format(spec.input, spec.format)


def job_of(
    manifest: Manifest,
    *,
    output: str,
    input_path: str | None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> JobSpec:
    """The job that a manifest is of, with other flags where they are given. Raises ConfigError."""
    content = manifest.content
    path = input_path or content["input"]["path"]
    if path == "-" and input_path is None:
        raise ConfigError(
            "the input of this run came through stdin", hint="name it again: --input FILE, or -"
        )
    settings = {**content["settings"], "output_format": content["output"]["format"]}
    if "input_profile" not in settings:
        settings["format"] = content["input"]["format"]
    for name, default in DEFAULT_FIELDS.items():
        # Named, a column must be there; by default it may be missing.
        if settings.get(name) == default:
            del settings[name]
    return job_from(
        command=content["command"],
        input_path=path,
        flags={**(flags or {}), "output": output},
        environ=environ,
        config=None,
        base=settings,
    )


def refuse_special(output: str) -> None:
    """Raises ConfigError if a result file that is to be read is a FIFO or a device."""
    if is_special(output):
        raise ConfigError(
            f"{output} is no regular file", hint="name a result file: it is read more than once"
        )
