"""What a credential may do: rules that allow or deny actions on keys.

A rule that denies beats every rule that allows. A credential with no rule that allows may do
whatever no rule denies; with one, only what a rule allows. Patterns know `*` for any text and
`?` for any character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_SERVICE_PREFIX = "kms:"

NO_KEY = ""
"""What a call that names no key is judged by: only the pattern `*` matches it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Both patterns match whole names."""

    allow: bool
    actions: re.Pattern[str]
    keys: re.Pattern[str]

    def covers(self, action: str, key_id: str) -> bool:
        """Whether the rule speaks of this action on this key."""
        return bool(self.actions.fullmatch(action) and self.keys.fullmatch(key_id))


def rule(*, effect: str, actions: Iterable[str], keys: Iterable[str] = ("*",)) -> Rule:
    """A rule from its texts. An action may be written as policies of the account do: `kms:Encrypt`.

    `effect` is `allow` or `deny`.
    """
    bare = (action.removeprefix(_SERVICE_PREFIX) for action in actions)
    return Rule(effect == "allow", _any_of(bare), _any_of(keys))


def speaks_of(written: str, action: str) -> bool:
    """Whether an action's text in a rule means this action."""
    return bool(_any_of([written.removeprefix(_SERVICE_PREFIX)]).fullmatch(action))


def permits(rules: Iterable[Rule], action: str, key_id: str) -> bool:
    """Whether the rules let this action be done on this key."""
    permitted, allowlisted = False, False
    for each in rules:
        covered = each.covers(action, key_id)
        if covered and not each.allow:
            return False
        allowlisted |= each.allow
        permitted |= covered
    return permitted or not allowlisted


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(_translated(pattern) for pattern in patterns), re.DOTALL)


def _translated(pattern: str) -> str:
    return re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
