"""What a load test says that it would do."""

from __future__ import annotations

from typing import Any

import pytest

from batchkms.cli.loadplan import planned_text
from batchkms.job import job_from


@pytest.mark.parametrize(
    ("flags", "schedule", "calls"),
    [
        ({"rate": "10", "duration": "3s"}, "3 s at 10/s", "30"),
        (
            {"stages": ("2s:0-10", "1s:10")},
            "2 s from 0/s to 10/s, then 1 s at 10/s",
            "20",
        ),
        (
            {"closed": True, "concurrency": "8"},
            "8 calls under way for 60 s",
            "as many as the server takes",
        ),
        ({"find_max": True}, "a search for the highest rate", "up to 45 s of calls"),
    ],
)
def test_the_plan_says_schedule_calls_endpoint_and_files(
    flags: dict[str, Any], schedule: str, calls: str
) -> None:
    flags = {**flags, "endpoint": "http://127.0.0.1:9", "output": "out.jsonl", "junit": "slo.xml"}
    spec = job_from(command="loadtest", input_path=None, flags=flags, environ={}, config=None)
    assert planned_text(spec) == [
        f"schedule: {schedule}",
        f"calls: {calls}",
        "endpoint: http://127.0.0.1:9",
        "files: out.jsonl, slo.xml",
        "nothing was sent",
    ]


def test_the_plan_says_how_many_processes_there_are() -> None:
    flags = {"processes": "3", "endpoint": "http://127.0.0.1:9"}
    spec = job_from(command="loadtest", input_path=None, flags=flags, environ={}, config=None)
    assert "processes: 3" in planned_text(spec)
