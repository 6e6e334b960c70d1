"""The highest rate that was found, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from batchkms.loadtest.steps import Step

LimitedBy = Literal["server", "generator", "most", "time"]
"""What a higher rate failed by; `most` and `time`: nothing did, up to where it was tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxRate:
    """The highest rate that held, in calls per second; 0 if none did.

    `held_steps` at that rate held, for `held_s` together, `unheld_steps` there did not;
    `held_calls` and `held_errors` are those of all of them. `failed_steps` are those at
    `lowest_failed`.
    """

    rate: float
    lowest_failed: float | None
    held_steps: int
    held_calls: int
    held_errors: int
    held_s: float
    unheld_steps: int
    failed_steps: int
    limited_by: LimitedBy
    goodput: float | None
    """What the service gave when it was asked for more than its limit, in calls per second."""
    confirmed: bool
    """Whether the rate was held for long enough to be sure."""
    steps: list[Step]

    @property
    def found(self) -> bool:
        """Whether it is an answer, and not only a rate that held before the search ended."""
        return self.rate > 0 and self.limited_by in ("server", "most")

    @property
    def confidence(self) -> str:
        """What the steps show, and what they do not, in a sentence."""
        if not self.rate:
            return "no step held" + self._limit_text()
        unsure = "" if self.confirmed else "; that is too short to be sure: give it more time"
        return self._held_text() + self._error_text() + self._limit_text() + unsure

    def as_json(self) -> dict[str, Any]:
        """For `RunRecord.max_rate` and the summary."""
        return {
            "rate": round(self.rate, 3),
            "lowest_failed": None if self.lowest_failed is None else round(self.lowest_failed, 3),
            "limited_by": self.limited_by,
            "held_steps": self.held_steps,
            "held_calls": self.held_calls,
            "held_s": round(self.held_s, 3),
            "failed_steps": self.failed_steps,
            "goodput": None if self.goodput is None else round(self.goodput, 3),
            "confirmed": self.confirmed,
            "confidence": self.confidence,
            "steps": msgspec.to_builtins(self.steps),
        }

    def as_text(self) -> list[str]:
        """For people, line by line."""
        return [max_rate_line(self.rate, self.limited_by), f"  {self.confidence}"]

    def _held_text(self) -> str:
        of = self.held_steps + self.unheld_steps
        return (
            f"held in {self.held_steps} of {of} {_steps(of)}, {self.held_s:.0f} s and "
            f"{self.held_calls:,} calls in all"
        )

    def _error_text(self) -> str:
        if self.held_errors or not self.held_calls:
            return f", {self.held_errors:,} of them errors"
        # The rule of three: none in n leaves 3/n, at 95%.
        most = 3 / self.held_calls
        return f", none of them an error: at 95% confidence less than {most:.2%} of calls fail"

    def _limit_text(self) -> str:
        if self.lowest_failed is not None:
            between = f"{self.rate:,.1f}/s and " if self.rate else "0 and "
            gave = f" (asked for too much, it gave {self.goodput:,.1f}/s)" if self.goodput else ""
            return (
                f"; {self.lowest_failed:,.1f}/s failed in {self.failed_steps} "
                f"{_steps(self.failed_steps)}, so that the limit is between {between}"
                f"{self.lowest_failed:,.1f}/s{gave}"
            )
        return {
            "generator": "; more than that the generator could not do: the service may",
            "most": "; more was not asked for",
            "time": "; nothing failed before the time was up",
            "server": "",
        }[self.limited_by]


def max_rate_line(rate: float, limited_by: LimitedBy) -> str:
    """The answer, for people."""
    if not rate:
        return "max rate: none found"
    at_least = {
        "server": "",
        "generator": "at least ",
        "most": "at least ",
        "time": "at least ",
    }[limited_by]
    why = {"generator": " (the generator was the limit)", "time": " (the time was up)"}
    return f"max rate: {at_least}{rate:,.1f}/s{why.get(limited_by, '')}"


def _steps(count: int) -> str:
    return "step" if count == 1 else "steps"
