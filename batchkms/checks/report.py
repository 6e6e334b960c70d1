"""What was found, in words and for programs, and the exit code that goes with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from batchkms.checks.account import Account, KeyFinding
from batchkms.checks.estimate import Estimate
from batchkms.checks.idindex import DuplicateId
from batchkms.checks.inventory import Inventory
from batchkms.errors import verdict_for
from batchkms.reporting.summary import Exit, span_text
from batchkms.sources.base import unseen_texts

SHOWN = 20
"""So many rows, duplicates and keys are named in the text; there are more in the JSON."""

_LABEL_WIDTH = 12
_LONGEST_ID = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """All of a check. `account` is None where the service was not asked.

    `content` says what the rows hold, `plaintext` or `ciphertext`. `shard` is the share of the
    input that was looked at, None for all of it.
    """

    inventory: Inventory
    account: Account | None
    estimate: Estimate
    content: str = "plaintext"
    shard: str | None = None
    without_key: int = 0
    """Rows that could be sent, if there were a CMK to encrypt them under."""

    @property
    def exit_code(self) -> Exit:
        """OK if nothing speaks against a run."""
        if self.inventory.broken is not None:
            return Exit.USAGE
        if not self.inventory.rows:
            return Exit.NO_RECORDS
        return Exit.SOME_FAILED if self.defects() else Exit.OK

    def defects(self) -> list[str]:
        """What would make rows fail or stop a run, each with what to do about it."""
        return [*self._input_defects(), *self._account_defects(), *self._disk_defects()]

    def _input_defects(self) -> Iterator[str]:
        inventory = self.inventory
        if inventory.broken is not None:
            yield _with_hint(str(inventory.broken), inventory.broken.hint)
        advice: dict[str, int] = {}
        for code, rows in inventory.codes.items():
            text = verdict_for(code).advice
            advice[text] = advice.get(text, 0) + rows
        for text, rows in advice.items():
            yield f"{_rows(rows)} would fail: {text}"
        yield from unseen_texts(inventory.unseen)
        if inventory.repeated_seqs:
            yield (
                f"a run would stop at {_rows(inventory.repeated_seqs)} whose seq an earlier row "
                f"has (first seq {inventory.first_repeated_seq}): give each a seq of its own"
            )

    def _account_defects(self) -> Iterator[str]:
        if self.account is None:
            return
        if self.without_key:
            yield self._without_key()
        if (error := self.account.stopped_by) is not None:
            yield _with_hint(
                f"the service could not be asked: {error}", error.hint or error.verdict.advice
            )
        if self.account.out_of_service is not None:
            yield f"{self.account.out_of_service}: no call can succeed"
        if unusable := self.account.unusable:
            rows = sum(key.rows for key in unusable)
            keys = "1 CMK" if len(unusable) == 1 else f"{len(unusable):,} CMKs"
            yield (
                f"{_rows(rows)} would fail under {keys} that cannot encrypt: "
                "check the key ids and the region, and that the CMKs are enabled"
            )

    def _without_key(self) -> str:
        names = "names" if self.without_key == 1 else "name"
        return f"{_rows(self.without_key)} {names} no CMK and none was given: add --key-id"

    def _disk_defects(self) -> Iterator[str]:
        estimate = self.estimate
        if estimate.free_bytes is not None and not estimate.fits:
            yield (
                f"the output takes about {_size(estimate.output_bytes)} and "
                f"{_size(estimate.free_bytes)} are free: write it to another disk"
            )

    def notes(self) -> list[str]:
        """What a user should know though it stops nothing."""
        notes: list[str] = []
        duplicates, account = self.inventory.duplicates, self.account
        if duplicates.ids:
            repeat = "repeats" if duplicates.surplus_rows == 1 else "repeat"
            notes.append(
                f"{_rows(duplicates.surplus_rows)} {repeat} the id of an earlier one: "
                "each is encrypted, and their results can be told apart by seq alone"
            )
        if duplicates.problem is not None:
            notes.append(f"duplicate ids were not looked for: {duplicates.problem}")
        if account is None:
            notes += [self._without_key()] if self.without_key else []
            return [*notes, "the service was not asked"]
        notes += account.problems
        unknown = sum(key.usable is None for key in account.keys) + account.not_looked_at
        if unknown:
            notes.append(f"whether CMKs can encrypt is not known of {unknown:,} of them")
        rate = self.estimate.per_second
        if account.quota is not None and (rate is None or rate > account.quota):
            over = "no rate is held" if rate is None else f"the rate is {rate:,}/s"
            notes.append(f"{over} and the quota {account.quota:,}/s: calls will be throttled")
        return notes

    def as_json(self) -> dict[str, Any]:
        """The report for programs."""
        inventory, estimate = self.inventory, self.estimate
        return {
            "command": "check",
            "exit_code": int(self.exit_code),
            "input": inventory.name,
            "shard": self.shard,
            "rows": inventory.rows,
            "sendable": inventory.sendable,
            "failing": inventory.failing,
            "passed_on": inventory.passed_on,
            "codes": inventory.codes,
            "failing_rows": [
                {"seq": row.seq, "id": row.id, "code": row.code, "message": row.message}
                for row in inventory.named_failing
            ],
            "read_bytes": inventory.read_bytes,
            f"{self.content}_bytes": inventory.content_bytes,
            "envelopes": inventory.envelopes,
            "data_keys": inventory.data_keys,
            "sizes": [
                {"up_to_bytes": up_to, "rows": rows} for up_to, rows in inventory.histogram()
            ],
            "with_context": inventory.with_context,
            "contexts": inventory.contexts,
            "repeated_seqs": inventory.repeated_seqs,
            "duplicates": self._duplicates_json(),
            "keys_named": len(inventory.keys),
            "rows_without_key": inventory.keyless,
            "account": None if self.account is None else _account_json(self.account),
            "calls": estimate.calls,
            "calls_per_second": estimate.per_second,
            "seconds": None if estimate.seconds is None else round(estimate.seconds, 1),
            "price_usd": {
                "least": round(estimate.price.least, 4),
                "most": round(estimate.price.most, 4),
            },
            "output_bytes": estimate.output_bytes,
            "free_bytes": estimate.free_bytes,
            "defects": self.defects(),
            "notes": self.notes(),
        }

    def _duplicates_json(self) -> dict[str, Any]:
        duplicates = self.inventory.duplicates
        return {
            "ids": duplicates.ids,
            "surplus_rows": duplicates.surplus_rows,
            "problem": duplicates.problem,
            "named": [
                {"id": duplicates.name(each), "rows": each.rows, "seqs": list(each.seqs)}
                for each in duplicates.named
            ],
        }

    def as_text(self) -> list[str]:
        """The report for people, line by line. Lines hold ids as they are."""
        inventory = self.inventory
        content = f"{_size(inventory.content_bytes)} {self.content}"
        share = "" if self.shard is None else f", share {self.shard}"
        return [
            f"check of {inventory.name}{share}: nothing was sent",
            _line("rows", f"{inventory.rows:,}; {inventory.sendable:,} can be sent"),
            _line("bytes", f"{_size(inventory.read_bytes)} read, {content}"),
            *self._failing_lines(),
            *self._duplicate_lines(),
            *self._content_lines(),
            *self._account_lines(),
            *self._estimate_lines(),
            *(f"next: {text}" for text in self.defects()),
            *(f"note: {text}" for text in self.notes()),
        ]

    def _failing_lines(self) -> Iterator[str]:
        inventory = self.inventory
        if not inventory.failing:
            return
        earlier = f" ({inventory.passed_on:,} had failed before)" if inventory.passed_on else ""
        yield _line("would fail", f"{inventory.failing:,}{earlier}")
        width = max(map(len, inventory.codes))
        for code, rows in inventory.codes.items():
            yield _line("", f"{code:{width}}  {rows:,}")
        for row in inventory.named_failing[:SHOWN]:
            named = "" if row.id == str(row.seq) else f" {_short(row.id)}"
            reason = f": {row.message}" if row.message else ""
            yield _line("", f"row {row.seq}{named}: {row.code}{reason}")
        yield from _more(inventory.failing, "rows")

    def _duplicate_lines(self) -> Iterator[str]:
        duplicates = self.inventory.duplicates
        if not duplicates.ids:
            return
        ids = "1 id" if duplicates.ids == 1 else f"{duplicates.ids:,} ids"
        yield _line("duplicates", f"{ids} on more than one row")
        for each in duplicates.named[:SHOWN]:
            yield _line("", f"{_name(duplicates.name(each))}rows {_seqs(each)}")
        yield from _more(duplicates.ids, "ids")

    def _content_lines(self) -> Iterator[str]:
        inventory = self.inventory
        steps = [
            f"{f'to {_step(up_to)}' if up_to else 'over'} {rows:,}"
            for up_to, rows in inventory.histogram()
            if rows
        ]
        if steps:
            yield _line("sizes", ", ".join(steps))
        if inventory.with_context:
            yield _line(
                "contexts",
                f"{inventory.contexts:,} different, on {_rows(inventory.with_context)}",
            )

    def _account_lines(self) -> Iterator[str]:
        account = self.account
        if account is None:
            return
        # What cannot be used is what the user must see; what ended the asking is told once.
        told = [key for key in account.keys if key.error is None or key.error != account.stopped_by]
        keys = sorted(told, key=lambda key: (key.usable is True, key.usable is None))
        for number, key in enumerate(keys[:SHOWN]):
            fate = " would fail" if key.usable is False else ""
            yield _line(
                "" if number else "keys",
                f"{_short(key.key_id)}  {key.told()} ({_rows(key.rows)}{fate})",
            )
        yield from _more(len(keys) + account.not_looked_at, "keys")
        yield _line("quota", "not known" if account.quota is None else f"{account.quota:,}/s")

    def _estimate_lines(self) -> Iterator[str]:
        estimate = self.estimate
        yield _line("calls", f"{estimate.calls:,}")
        if (pace := estimate.pace) is not None:
            yield _line("time", f"{span_text(pace.seconds)} at {pace.per_second:,}/s")
        price = estimate.price
        yield _line(
            "price",
            f"{price.least:,.2f} to {price.most:,.2f} USD by the list, by how many of this month's "
            "free calls are left; retries may come on top",
        )
        free = "" if estimate.free_bytes is None else f", {_size(estimate.free_bytes)} free"
        yield _line("output", f"about {_size(estimate.output_bytes)}{free}")


def _account_json(account: Account) -> dict[str, Any]:
    return {
        "keys": [_key_json(key) for key in account.keys],
        "keys_not_looked_at": account.not_looked_at,
        "quota": account.quota,
        "out_of_service": account.out_of_service,
        "stopped_by": account.stopped_by and str(account.stopped_by),
        "problems": list(account.problems),
        "calls": account.calls,
    }


def _key_json(key: KeyFinding) -> dict[str, Any]:
    error = key.error
    return {
        "key_id": key.key_id,
        "rows": key.rows,
        "usable": key.usable,
        "state": key.state,
        "usage": key.usage,
        "code": error and error.code,
        "message": error and error.message,
        "request_id": error and error.request_id,
    }


def _line(label: str, text: str) -> str:
    return f"  {label:{_LABEL_WIDTH}}{text}"


def _more(found: int, what: str) -> Iterator[str]:
    if found > SHOWN:
        yield _line("", f"and {found - SHOWN:,} more {what}")


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _with_hint(text: str, hint: str | None) -> str:
    return f"{text}: {hint}" if hint else text


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_ID else f"{text[:_LONGEST_ID]}…"


def _name(row_id: str | None) -> str:
    return "" if row_id is None else f"{_short(row_id)}: "


def _seqs(duplicate: DuplicateId) -> str:
    named = ", ".join(map(str, duplicate.seqs))
    left = duplicate.rows - len(duplicate.seqs)
    return f"{named} and {left:,} more" if left else named


def _step(size_bytes: int) -> str:
    return f"{size_bytes // 1024} KiB" if size_bytes >= 1024 else f"{size_bytes} B"


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:,.0f} B" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"
