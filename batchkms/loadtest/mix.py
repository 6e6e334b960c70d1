"""Which action each call of a load test is of: weights, and a smooth order made of them."""

from __future__ import annotations

import difflib
import math
import random
import re
from collections.abc import Iterator, Mapping
from itertools import cycle
from typing import Any

from batchkms.errors import BadValue
from batchkms.loadtest.share import WHOLE, Share

ACTIONS = {
    "encrypt": "Encrypt",
    "decrypt": "Decrypt",
    "reencrypt": "ReEncrypt",
    "generate-data-key": "GenerateDataKey",
}
"""The actions that a load test makes calls of, and what each is called on the wire."""

OF_CIPHERTEXTS = ("decrypt", "reencrypt")
"""Those that need ciphertexts, which only a file can give."""

MAX_WEIGHT = 10_000

_TAKES = "takes actions with whole weights, such as encrypt=9,decrypt=1"

Mix = Mapping[str, int]
"""The weight of each action of a load test."""


def parse_mix(value: Any) -> dict[str, int]:
    """The weights that `encrypt`, or `encrypt=9,decrypt=1`, stands for. Raises BadValue.

    An action without a weight has that of 1. A job file may have a table of weights.
    """
    weights: dict[str, int] = {}
    for name, weight in _written(value):
        if name not in ACTIONS:
            near = difflib.get_close_matches(name.lower(), ACTIONS, n=1, cutoff=0.0)
            raise BadValue(f"has an action that is none; the nearest is {near[0]}")
        if name in weights:
            raise BadValue(f"has the action {name} twice")
        weights[name] = weight
    return weights


def written_mix(mix: Mix) -> str:
    """The mix as `parse_mix` reads it."""
    if len(mix) == 1:
        return next(iter(mix))
    return ",".join(f"{name}={weight}" for name, weight in mix.items())


def ordered(mix: Mix, *, seed: int, share: Share = WHOLE) -> Iterator[str]:
    """The action of each call, without end: the same ones for the same mix and seed.

    It is smooth: no action is ever further from its share than a call for each action there is.
    The seed says at which point of the order it begins. Each of several processes has the whole
    order, so that a slow action of the closed model is not that of one of them; they begin at
    points as far from each other as can be.
    """
    order = _smooth(mix)
    start = random.Random(seed).randrange(len(order))  # noqa: S311 - an order is no secret
    start = (start + share.first * len(order) // share.of) % len(order)
    return cycle(order[start:] + order[:start])


def _written(value: Any) -> Iterator[tuple[str, int]]:
    """Each action that is written and its weight. Raises BadValue."""
    if isinstance(value, dict) and value:
        parts = [f"{name}={weight}" for name, weight in value.items()]
    elif isinstance(value, str):
        parts = value.split(",")
    else:
        raise BadValue(_TAKES)
    for part in parts:
        name, equals, weight = (each.strip() for each in part.partition("="))
        if not name or (equals and not re.fullmatch(r"[0-9]{1,9}", weight)):
            raise BadValue(_TAKES)
        number = int(weight) if equals else 1
        if not 1 <= number <= MAX_WEIGHT:
            raise BadValue(f"takes weights from 1 to {MAX_WEIGHT:,}, not {number:,}")
        yield name, number


def _smooth(mix: Mix) -> list[str]:
    """One round of the mix, by smooth weighted round robin as nginx does it.

    Each call every action gains its weight, and the one that has the most pays for all.
    """
    divisor = math.gcd(*mix.values())
    weights = {name: weight // divisor for name, weight in mix.items()}
    total = sum(weights.values())
    gained = dict.fromkeys(weights, 0)
    order = []
    for _ in range(total):
        for name, weight in weights.items():
            gained[name] += weight
        most = max(gained, key=gained.__getitem__)
        gained[most] -= total
        order.append(most)
    return order
