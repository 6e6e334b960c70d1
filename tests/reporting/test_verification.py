"""The end of a verification in words."""

from __future__ import annotations

from pathlib import Path

from batchkms.reporting.summary import State
from batchkms.reporting.verification import Cost, VerifySummary
from batchkms.runs.verification import Verification
from batchkms.tally import Tally


def test_no_more_than_the_beginning_of_a_long_code_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.touch()
    with Verification(path, format="jsonl") as outcome:
        outcome.unverified.failed_now = 1
        outcome.unverified.by_class["unknown"] = 1
        outcome.unverified.by_code["A" * 60 + "B" * 60] = 1
    summary = VerifySummary(
        outcome=outcome,
        state=State.FINISHED,
        tally=Tally(),
        cost=Cost(calls=1, per_second=300),
        output=str(path),
        against="in.jsonl",
        wall_s=1.0,
    )
    text = "\n".join(summary.as_text())
    assert f"({'A' * 60} 1)" in text
    assert "B" * 2 not in text
