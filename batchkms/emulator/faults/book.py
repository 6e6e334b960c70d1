"""The fault rules in force: what is asked at every call, and what changes while it runs."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import orjson

from batchkms.emulator.faults.fault import Fault, QuotaChange
from batchkms.emulator.faults.ledger import MAX_RULES, Ledger, LocalLedger
from batchkms.emulator.faults.rule import Rule, parse_rule
from batchkms.errors import ConfigError

KeyIds = Callable[[], Awaitable[Sequence[str]]]
"""Finds the ids of the keys that a call names; asked only if a rule wants to know."""


class Faults:
    """The rules of one emulator, asked in the order in which they were added.

    `rules` are in force at the start and after `reset`. `seed` makes probabilities and latencies
    the same in every run. `ledger` is given where several workers have the same rules.
    """

    def __init__(
        self, rules: Iterable[Rule] = (), *, seed: int | None = None, ledger: Ledger | None = None
    ) -> None:
        self._at_start = [dict(rule.written) for rule in rules]
        self._seed = seed
        self._ledger = ledger or LocalLedger()
        self._version = -1
        self._rules: list[Rule] = []
        self._chances: list[random.Random] = []
        self.reset()

    @property
    def active(self) -> bool:
        """Whether there is any rule: without one, nothing has to be asked."""
        if self._ledger.version != self._version:
            self._take_over()
        return bool(self._rules)

    def add(self, written: dict[str, Any], where: str = "rule") -> dict[str, Any]:
        """Puts one more rule in force; returns it as `rules` shows it. Raises ConfigError."""
        return self.add_all([written], [where])[0]

    def add_json(self, rules: Any) -> None:
        """Adds what `POST /_emulator/faults` was sent: a rule or a list of them, all or none.

        Raises ConfigError.
        """
        given = rules if isinstance(rules, list) else [rules]
        if not given or not all(isinstance(rule, dict) for rule in given):
            raise ConfigError(
                "the body is no fault rule",
                hint='send JSON such as {"action": "Encrypt", "code": "InternalError"}, or a list',
            )
        self.add_all(given, [f"rule {number}" for number in range(1, len(given) + 1)])

    def as_json(self) -> dict[str, Any]:
        """The answer of `GET /_emulator/faults`."""
        return {"faults": self.rules()}

    def add_all(
        self, written: Sequence[dict[str, Any]], where: Sequence[str]
    ) -> list[dict[str, Any]]:
        """Puts several rules in force, all of them or none; `where` names each in errors.

        Returns them as `rules` shows them. Raises ConfigError.
        """
        for rule, name in zip(written, where, strict=True):
            parse_rule(rule, name)
        with self._ledger.locked():
            kept = orjson.loads(self._ledger.text)
            if len(kept) + len(written) > MAX_RULES:
                raise ConfigError(
                    f"there can be {MAX_RULES} fault rules", hint="clear them, then add others"
                )
            self._write([*kept, *written])
            for place in range(2 * len(kept), 2 * (len(kept) + len(written))):
                self._ledger.counts[place] = 0
        return self.rules()[len(kept) :]

    def rules(self) -> list[dict[str, Any]]:
        """Every rule as it was written, with `seen`, the calls it was asked about, and `hits`."""
        with self._ledger.locked():
            written, counts = orjson.loads(self._ledger.text), self._ledger.counts
            return [
                {**rule, "seen": counts[2 * place], "hits": counts[2 * place + 1]}
                for place, rule in enumerate(written)
            ]

    def clear(self) -> None:
        """Takes every rule out of force."""
        with self._ledger.locked():
            self._write([])

    def reset(self) -> None:
        """Puts the rules of the start in force, as if no call had been made."""
        with self._ledger.locked():
            for place in range(2 * MAX_RULES):
                self._ledger.counts[place] = 0
            self._write(self._at_start)

    async def for_call(self, *, action: str, secret_id: str, key_ids: KeyIds) -> Fault | None:
        """What goes wrong with a call that was authenticated; None if nothing does.

        Every rule that hits adds its latency and changes the quota, and the first one that has
        another outcome decides on the answer.
        """
        asked = [
            place
            for place, rule in enumerate(self._rules)
            if (not rule.actions or action in rule.actions)
            and (not rule.credentials or secret_id in rule.credentials)
        ]
        if any(self._rules[place].keys for place in asked):
            named = frozenset(await key_ids())
            asked = [
                place
                for place in asked
                if not self._rules[place].keys or not named.isdisjoint(self._rules[place].keys)
            ]
        return self._struck(asked) if asked else None

    def _struck(self, asked: Sequence[int]) -> Fault | None:
        delay_s, outcome, changes = 0.0, None, []
        with self._ledger.locked():
            for place in asked:
                rule = self._rules[place]
                decides = not rule.changes_quota and _has_outcome(rule)
                if not self._hits(place, rule, blocked=decides and outcome is not None):
                    continue
                if rule.latency is not None:
                    delay_s += rule.latency.draw_s(self._chances[place])
                if rule.changes_quota:
                    changes.append(QuotaChange(rule.quota, rule.for_s))
                elif decides:
                    outcome = rule
        if not delay_s and outcome is None and not changes:
            return None
        return Fault(outcome=outcome, delay_s=delay_s, quota_changes=tuple(changes))

    def _hits(self, place: int, rule: Rule, *, blocked: bool) -> bool:
        """Counts the call for the rule; whether the rule hits it."""
        counts = self._ledger.counts
        number = counts[2 * place] = counts[2 * place] + 1
        if blocked or (rule.times is not None and counts[2 * place + 1] >= rule.times):
            return False
        if rule.calls is not None and number not in rule.calls:
            return False
        if rule.every is not None and number % rule.every:
            return False
        if rule.probability is not None and self._chances[place].random() >= rule.probability:
            return False
        counts[2 * place + 1] += 1
        return True

    def _write(self, rules: Sequence[dict[str, Any]]) -> None:
        try:
            self._ledger.write(orjson.dumps(rules))
        except ValueError as error:
            raise ConfigError(str(error), hint="clear the rules, or write shorter ones") from None
        # With no rules there is nothing that a seed could speak of: it starts over.
        self._chances = self._chances if rules else []
        self._take_over()

    def _take_over(self) -> None:
        """Takes in the rules that this worker, or another one, has put in force."""
        self._version = self._ledger.version
        written = orjson.loads(self._ledger.text)
        self._rules = [parse_rule(rule, "rule") for rule in written]
        for place in range(len(self._chances), len(self._rules)):
            # One source per rule, so that the draws of one do not depend on those of another.
            # A seed must give the same faults again, which a secure generator could not, and who
            # foresees a fault that they asked for themselves learns no secret.
            chance = random.Random(_seed_of(self._seed, place))  # noqa: S311 - it must be repeatable, and is no secret
            self._chances.append(chance)


def _has_outcome(rule: Rule) -> bool:
    return rule.code is not None or rule.http is not None or rule.effect is not None


def _seed_of(seed: int | None, place: int) -> str | None:
    return None if seed is None else f"{seed}:{place}"
