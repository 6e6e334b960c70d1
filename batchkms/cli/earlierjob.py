"""The job of a run that has ended, read back from its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchkms.job import JobSpec, job_from
from batchkms.runs.manifest import Manifest
from batchkms.sources.base import DEFAULT_FIELDS


def earlier_job(
    manifest: Manifest, *, input_path: str, output: str, given: Mapping[str, Any] | None = None
) -> JobSpec:
    """The job as the manifest has it, with this input and output.

    `given` maps fields to raw values that take the place of the manifest's. Raises ConfigError.
    """
    content = manifest.content
    settings = {**content["settings"], "output_format": content["output"]["format"]}
    if not settings.get("input_profile"):
        settings["format"] = content["input"]["format"]
    for name, default in DEFAULT_FIELDS.items():
        # Named, a column must be there; by default it may be missing.
        if settings.get(name) == default:
            del settings[name]
    return job_from(
        command=content["command"],
        input_path=input_path,
        flags={**(given or {}), "output": output},
        environ={},
        config=None,
        base=settings,
    )
