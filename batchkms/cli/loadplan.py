"""What a load test would do, in a few lines: `--dry-run` says it and sends nothing."""

from __future__ import annotations

from batchkms.cli.main import printable
from batchkms.cli.streams import say
from batchkms.job import JobSpec
from batchkms.kms.client import DEFAULT_ENDPOINT
from batchkms.loadtest.schedule import Schedule, Stage


def say_plan(spec: JobSpec) -> int:
    """Says on stderr what would be done; returns the exit code."""
    for line in planned_text(spec):
        say(f"batchkms: {printable(line)}")
    return 0


def planned_text(spec: JobSpec) -> list[str]:
    """The schedule, the number of calls, the endpoint and the files, line by line."""
    endpoint = "an emulator of its own" if spec.emulator else spec.endpoint or DEFAULT_ENDPOINT
    files = [path for path in (spec.output, spec.report, spec.junit, spec.hgrm) if path]
    return [
        *_pace(spec),
        *([f"processes: {spec.processes}"] if spec.processes > 1 else []),
        f"endpoint: {endpoint}",
        f"files: {', '.join(files) or 'none'}",
        "nothing was sent",
    ]


def _pace(spec: JobSpec) -> list[str]:
    if spec.find_max:
        return ["schedule: a search for the highest rate", "calls: up to 45 s of calls"]
    if spec.closed:
        return [
            f"schedule: {spec.concurrency:,} calls under way for {spec.duration:g} s",
            "calls: as many as the server takes",
        ]
    stages = spec.stages or ((spec.duration, float(spec.rate), float(spec.rate)),)
    shown = [
        f"{seconds:g} s at {first:g}/s"
        if first == last
        else f"{seconds:g} s from {first:g}/s to {last:g}/s"
        for seconds, first, last in stages
    ]
    total = Schedule([Stage(*stage) for stage in stages]).total
    return [f"schedule: {', then '.join(shown)}", f"calls: {total:,}"]
