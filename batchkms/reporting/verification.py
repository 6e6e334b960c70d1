"""The end of a verification in words and numbers: exit code, findings, what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from batchkms.checks.estimate import price_of, seconds_for
from batchkms.errors import RunStopped, verdict_for
from batchkms.reporting.summary import Exit, State, span_text
from batchkms.runs.verification import Verification
from batchkms.runs.verifyfindings import Kind
from batchkms.shard import Shard
from batchkms.tally import Tally

_LONGEST_CODE = 60
"""What is shown of an error code: the service's own are shorter, another may say anything."""

_ADVICE = {
    Kind.CORRUPTED: "restore the rows that do not decrypt, or encrypt them anew",
    Kind.ID: "if all of them differ: check --id-field",
    Kind.CONTEXT: "restore the contexts in {output}; if all of them differ: check --context-field",
    Kind.MISSING: "if the run had a --limit or --shard, or has not ended, its output lacks the "
    "rest; --shard I/N compares with that share alone",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a verification takes: calls at this rate, None without a limit."""

    calls: int
    per_second: int | None

    def as_text(self) -> str:
        """In one line."""
        seconds, price = seconds_for(self.calls, self.per_second), price_of(self.calls)
        if self.per_second is None or seconds is None:
            time = "no limit to the rate"
        else:
            hours = f"{seconds / 3600:.2f} h"
            time = f"{hours} ({span_text(seconds)}) at {self.per_second:,} calls/s"
        calls = "1 call" if self.calls == 1 else f"{self.calls:,} calls"
        return f"{calls}, {time}, {price.least:.2f} to {price.most:.2f} USD"

    def as_json(self) -> dict[str, Any]:
        """For programs; times in seconds."""
        price = price_of(self.calls)
        return {
            "calls": self.calls,
            "calls_per_second": self.per_second,
            "seconds": seconds_for(self.calls, self.per_second),
            "usd": {"least": round(price.least, 4), "most": round(price.most, 4)},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySummary:
    """What is told at the end. `seed` is that of a sample; `wall_s` the whole time in seconds.

    `shard` is the share of the inventory that the output was compared with, None for all of it.
    """

    outcome: Verification
    state: State
    tally: Tally
    cost: Cost
    output: str
    against: str
    wall_s: float
    sample: int | None = None
    seed: int | None = None
    shard: Shard | None = None
    error: RunStopped | None = None
    """What stopped it."""

    @property
    def exit_code(self) -> Exit:
        """A verification that was not finished says nothing of the rows that it did not reach."""
        outcome = self.outcome
        if self.state is not State.FINISHED:
            return Exit.STOPPED if self.state is State.STOPPED else Exit.INTERRUPTED
        if outcome.findings.counts:
            return Exit.THRESHOLD
        if not outcome.rows:
            return Exit.NO_RECORDS
        if not outcome.unverified.rows:
            return Exit.OK
        return Exit.ALL_RETRYABLE if outcome.unverified.retryable else Exit.SOME_FAILED

    def next_steps(self) -> list[str]:
        """What the user can do."""
        outcome, steps = self.outcome, []
        retryable = outcome.unverified.to_retry
        if retryable:
            steps.append(f"rows that had failed can be done by batchkms retry {self.output}")
        if outcome.unverified.failed_before > retryable:
            steps.append("rows that had failed for good: correct them, then encrypt those")
        if outcome.unverified.failed_now:
            advice = {verdict_for(code).advice: None for code in outcome.unverified.by_code}
            steps += [*advice][:4]
        found = [text for kind, text in _ADVICE.items() if outcome.findings.counts[kind]]
        return steps + [text.replace("{output}", self.output) for text in found]

    def as_json(self) -> dict[str, Any]:
        """The summary for programs."""
        outcome, unverified = self.outcome, self.outcome.unverified
        return {
            "command": "verify",
            "state": self.state.value,
            "exit_code": int(self.exit_code),
            "output": self.output,
            "against": self.against,
            "shard": None if self.shard is None else str(self.shard),
            "rows": outcome.rows,
            "output_rows": outcome.output_rows,
            "verified": outcome.verified,
            "not_chosen": outcome.matched,
            "unverified": {
                "rows": unverified.rows,
                "failed_before": unverified.failed_before,
                "never_sent": unverified.never_sent,
                "failed_now": unverified.failed_now,
                "classes": {str(name): rows for name, rows in unverified.by_class.items()},
                "codes": dict(unverified.by_code),
            },
            "counts": {kind.value: rows for kind, rows in outcome.findings.counts.items()},
            "findings": [finding.as_json() for finding in outcome.findings.named],
            "sample": self.sample,
            "seed": self.seed,
            "cost": self.cost.as_json(),
            "calls": self.tally.calls,
            "retries": self.tally.retries,
            "throttled": self.tally.throttled,
            "wall_s": round(self.wall_s, 3),
            "error": None
            if self.error is None
            else {"message": self.error.message, "hint": self.error.hint},
            "next": self.next_steps(),
        }

    def as_text(self) -> list[str]:
        """The summary for people, line by line; every finding that is named comes first."""
        outcome, unverified = self.outcome, self.outcome.unverified
        lines = [finding.as_text() for finding in outcome.findings.named]
        lines += [f"{kind}: {rows:,} in all" for kind, rows in outcome.findings.counts.items()]
        chosen = "" if self.sample is None else f", {outcome.matched:,} not in the sample"
        lines.append(
            f"{self.state.value}: {outcome.rows:,} rows in {span_text(self.wall_s)}, "
            f"{outcome.verified:,} verified{chosen}, {unverified.rows:,} unverified, "
            f"{outcome.findings.counts.total():,} not right"
        )
        lines += _unverified(outcome)
        if self.shard is not None:
            lines.append(f"compared with the rows of the share {self.shard} of {self.against}")
        if self.seed is not None:
            lines.append(f"sample: {outcome.chosen:,} rows; the same ones again with {self._seed}")
        return lines + [f"next: {step}" for step in self.next_steps()]

    @property
    def _seed(self) -> str:
        return f"--sample {self.sample} --seed {self.seed}"


def _unverified(outcome: Verification) -> list[str]:
    unverified = outcome.unverified
    counts = {
        "had failed and have no ciphertext": unverified.failed_before,
        "cannot be sent as the inventory has them now": unverified.never_sent,
        "were not decrypted by the service": unverified.failed_now,
    }
    lines = [f"  unverified: {rows:,} {why}" for why, rows in counts.items() if rows]
    classes = [f"{name} {rows:,}" for name, rows in unverified.by_class.most_common()]
    codes = [f"{code[:_LONGEST_CODE]} {rows:,}" for code, rows in unverified.by_code.most_common(6)]
    if classes:
        lines.append(f"  unverified by class: {', '.join(classes)} ({', '.join(codes)})")
    return lines
