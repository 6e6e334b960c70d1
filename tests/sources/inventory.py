"""A secrets inventory as one meets it: many shapes of secrets, written as JSONL and as CSV."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from batchkms.records import Record

ALNUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
COLUMNS = ("id", "plaintext", "owner", "encryption_context")

Quoting = Literal[0, 1, 2]
"""csv.QUOTE_MINIMAL, QUOTE_ALL and QUOTE_NONNUMERIC."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row before it is written. An empty id stands for none."""

    id: str
    plaintext: str
    context: str | None = None
    owner: str = "team-1"


def make_rows(count: int, seed: int) -> list[Row]:
    """Rows of every shape, the same ones for the same seed. Each of them can be sent."""
    rng = random.Random(seed)  # noqa: S311  (test data, no key)
    return [_row(rng, i) for i in range(count)]


def as_records(rows: Sequence[Row]) -> list[Record]:
    """What a reader must make of them."""
    return [
        Record(
            seq=seq,
            id=row.id or str(seq),
            plaintext=row.plaintext.encode(),
            encryption_context=row.context,
        )
        for seq, row in enumerate(rows, 1)
    ]


def to_jsonl(rows: Sequence[Row], *, line_end: str = "\n", ascii_only: bool = False) -> bytes:
    """JSON Lines as the standard library writes them, with or without escapes."""
    lines = (json.dumps(_members(row), ensure_ascii=ascii_only) + line_end for row in rows)
    return "".join(lines).encode()


def to_csv(
    rows: Sequence[Row],
    *,
    quoting: Quoting = csv.QUOTE_MINIMAL,
    line_end: str = "\r\n",
    columns: Sequence[str] = COLUMNS,
) -> bytes:
    """CSV as the standard library writes it, with the columns in this order."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, quoting=quoting, lineterminator=line_end)
    writer.writeheader()
    writer.writerows({name: _members(row).get(name, "") for name in columns} for row in rows)
    return text.getvalue().encode()


def _members(row: Row) -> dict[str, str]:
    members = {"id": row.id, "plaintext": row.plaintext, "owner": row.owner}
    return members if row.context is None else {**members, "encryption_context": row.context}


def _row(rng: random.Random, i: int) -> Row:
    context = json.dumps({"app": f"app-{i % 37}", "quelle": 'ä"中'}, ensure_ascii=bool(i % 2))
    return Row(
        id=rng.choice(["", f"prod/app-{i % 37}/secret-{i:06d}", 'with "quotes", and commas', "=1"]),
        plaintext=_secret(rng, i),
        context=context if i % 3 == 0 else None,
        owner=rng.choice(["", "team-7", "two\nlines"]),
    )


def _secret(rng: random.Random, i: int) -> str:
    def word(length: int) -> str:
        return "".join(rng.choices(ALNUM, k=length))

    pem = "\n".join(["-----BEGIN KEY-----", *(word(64) for _ in range(20)), "-----END KEY-----\n"])
    shapes = [
        f"postgresql://svc_{word(5)}:{word(24)}@db-{i % 40}.internal:5432/app?sslmode=verify-full",
        pem,
        pem.replace("\n", "\r\n"),
        "正确的马电池订书钉 🔐 " + word(8),
        f"pa\"ss,wo'rd;{word(10)}\\n$(x)",
        f'"{word(5)}"',
        f'{word(3)},"{word(3)}"\n"',
        "line one " + word(9) + "\nline two\r\n\ttabbed",
        "=HYPERLINK(" + word(6) + ")",
        "  spaces kept  ",
        "a\x00b",
        "\u2028\u0085\ufeff",
        "\r",
        "x" * 4096,
        word(rng.choice([1, 2, 8, 256, 4000])),
    ]
    return rng.choice(shapes)
