"""`encrypt --in-place-column`: a run to the results beside OUT, and then OUT of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from batchkms.job import JobSpec
from batchkms.runs.inplace import InPlaceColumn, InPlaceOutput

Then = Callable[[], Awaitable[InPlaceColumn]]
"""What follows a run that has finished."""


def results_job(spec: JobSpec) -> tuple[JobSpec, Then]:
    """The job that writes the results, and what makes OUT of them when it has finished.

    Raises ConfigError if OUT cannot be made.
    """
    output = InPlaceOutput(
        spec.output,
        input_path=spec.input,
        input_format_name=spec.format,
        results_format=spec.output_format,
        field=spec.fields().plaintext,
        overwrite=spec.overwrite,
        resume=spec.resume,
    )
    output.refuse()
    return replace(spec, output=output.results), output.finish
