"""Inventories of any size with defects sown at random places, and what a check must find."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from batchkms.sources.base import Fields

CANARY = "canary-4Kd8-plaintext"
"""In every row that is broken: it must be in no report."""

KEYS = ("11111111-1111-1111-8111-111111111111", "22222222-2222-2222-8222-222222222222")
FIELDS = Fields(key="key", required=frozenset(["key"]))
"""How the input is to be read, with `needs_key`."""

ALNUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass
class Sown:
    """What is in an input. Rows are named by their ordinal."""

    rows: int
    failing: dict[int, str] = field(default_factory=dict)
    """The code that each row must fail with."""
    lines: dict[int, int] = field(default_factory=dict)
    """The line of the file on which each of these rows is."""
    repeated_seqs: set[int] = field(default_factory=set)
    ids: dict[str, list[int]] = field(default_factory=dict)
    """The rows of each id that is on more than one row."""
    sizes: Counter[int] = field(default_factory=Counter)
    keys: Counter[str] = field(default_factory=Counter)
    with_context: int = 0
    contexts: set[str] = field(default_factory=set)


def _row(**members: object) -> bytes:
    return json.dumps(members, ensure_ascii=False).encode()


def _good(**changes: object) -> bytes:
    return _row(**{"id": CANARY[:6], "plaintext": CANARY, "key": KEYS[0], **changes})


BROKEN: dict[str, Callable[[int], bytes]] = {
    "InvalidJson": lambda seq: f'{{"plaintext":"{CANARY}'.encode(),
    "InvalidUtf8": lambda seq: f'{{"plaintext":"{CANARY}'.encode() + b'\xff"}',
    "NotAnObject": lambda seq: f'["{CANARY}"]'.encode(),
    "InvalidId": lambda seq: _good(id=True),
    "MissingPlaintext": lambda seq: _row(key=KEYS[0], secret=CANARY),
    "EmptyPlaintext": lambda seq: _row(key=KEYS[0], plaintext="", secret=CANARY),
    "InvalidPlaintext": lambda seq: _row(key=KEYS[0], plaintext=[CANARY]),
    "PlaintextTooLarge": lambda seq: _row(key=KEYS[0], plaintext=CANARY * 200),
    "InvalidContext": lambda seq: _row(key=KEYS[0], plaintext=CANARY, encryption_context=CANARY),
    "ContextTooLong": lambda seq: _row(
        key=KEYS[0], plaintext=CANARY, encryption_context={"k": CANARY * 60}
    ),
    "InvalidKeyId": lambda seq: _row(plaintext=CANARY, key=f"{CANARY}\n"),
    "MissingKeyId": lambda seq: _row(plaintext=CANARY),
    "InvalidResultRow": lambda seq: _row(seq="x", status="ok", plaintext=CANARY, key=KEYS[0]),
    # A row that had failed in an earlier run.
    "RequestLimitExceeded": lambda seq: _row(
        **{"seq": seq, "id": f"earlier/{seq}", "status": "failed", "class": "throttled"},
        **{"code": "RequestLimitExceeded", "attempts": 8, "plaintext": CANARY},
    ),
}
"""A row that fails with each code, given its ordinal."""

REPEATED_SEQ = "a seq that was there before"
OVERLONG_ROWS = 2


def sow(path: Path, *, rows: int, each: int, seed: int, secret_bytes: int = 256) -> Sown:
    """Writes a JSONL file with so many defects of each kind, and duplicates, among good rows."""
    rng = random.Random(seed)  # noqa: S311  (test data, no key)
    sown = Sown(rows)
    groups = [rng.choice([2, 2, 2, 3, 5]) for _ in range(each)] + [25]
    kinds = [kind for kind in (*BROKEN, REPEATED_SEQ) for _ in range(each)]
    kinds += ["RowTooLong"] * OVERLONG_ROWS
    places = rng.sample(range(2, rows + 1), len(kinds) + sum(groups))
    defects = dict(zip(places, kinds, strict=False))
    left = iter(places[len(kinds) :])
    shared = {next(left): f"twice/{n}" for n, size in enumerate(groups) for _ in range(size)}
    secrets = ["".join(rng.choices(ALNUM, k=secret_bytes)) for _ in range(100)]
    line = 0
    with path.open("wb") as file:
        for seq in range(1, rows + 1):
            line += 1
            if seq % 1_000 == 0:
                file.write(b"\n")  # A blank line is no row, so that seq and line part.
                line += 1
            kind = defects.get(seq)
            if kind is None or kind == REPEATED_SEQ:
                file.write(_written(sown, seq, kind, shared.get(seq), secrets[seq % 100]))
                continue
            sown.failing[seq] = kind
            sown.lines[seq] = line
            text = BROKEN[kind](seq) if kind in BROKEN else (CANARY * 55_000).encode()
            file.write(text + b"\n")
    return sown


def _written(sown: Sown, seq: int, kind: str | None, shared: str | None, secret: str) -> bytes:
    """A row that can be sent, noted in `sown`."""
    row: dict[str, object] = {"id": shared or f"prod/app-{seq % 37}/secret-{seq:07}"}
    if kind == REPEATED_SEQ:
        # The first row is always a good one.
        row |= {"seq": 1, "status": "ok"}
        sown.repeated_seqs.add(seq)
    if shared is not None:
        sown.ids.setdefault(shared, []).append(seq)
    size = len(secret) if seq % 10 else 1 + seq % 16
    row |= {"plaintext": secret[:size], "key": KEYS[seq % 3 == 0]}
    sown.sizes[size] += 1
    sown.keys[KEYS[seq % 3 == 0]] += 1
    if seq % 5 == 0:
        context = f'{{"app":"app-{seq % 7}"}}'
        row["encryption_context"] = context
        sown.with_context += 1
        sown.contexts.add(context)
    return json.dumps(row).encode() + b"\n"
