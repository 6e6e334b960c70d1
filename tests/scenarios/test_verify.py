"""`batchkms verify` in 5,000 rows: what is wrong with an output is found, and nothing else."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.conftest import Program
from tests.scenarios.emulators import Service, running_service
from tests.scenarios.ended import Ended
from tests.sources.inventory import make_rows

ROWS = 5_000
BROKEN = 7
"""So many rows of the inventory cannot be encrypted."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Encrypted:
    """A service, an inventory, and what the program made of it."""

    service: Service
    folder: Path
    results: list[bytes]

    def damaged(self, *seqs: int, change: Callable[[list[Row]], None]) -> None:
        """Writes `bad.jsonl`, the output with these rows changed."""
        rows = self.rows()
        change([rows[seq] for seq in seqs])
        self.write([json.dumps(row).encode() + b"\n" for row in rows.values()])

    def rows(self) -> dict[int, Row]:
        """The rows of the output in its order."""
        return {row["seq"]: row for row in map(json.loads, self.results)}

    def write(self, lines: list[bytes]) -> None:
        """Writes `bad.jsonl`."""
        (self.folder / "bad.jsonl").write_bytes(b"".join(lines))

    def verify(self, *options: str, output: str = "bad.jsonl") -> tuple[Ended, Row]:
        """Runs `verify --summary json`; its ending and its summary."""
        ended = Program(self.folder)(
            *("verify", output, "--against", "in.jsonl", "--rate", "off", "--summary", "json"),
            *("--endpoint", self.service.endpoint, *options),
            environ=self.service.credentials,
        )
        assert ended.stdout, ended.stderr
        return ended, json.loads(ended.stdout)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture(scope="module")
def encrypted(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Encrypted:
    """The output of one run, in an order of its own as that of a retry can be."""
    folder = tmp_path_factory.mktemp("verify")
    lines: list[Row] = [
        {"id": row.id, "plaintext": row.plaintext, "encryption_context": row.context}
        for row in make_rows(ROWS - BROKEN, seed=11)
    ]
    lines += [{"id": "empty", "plaintext": ""}] * BROKEN
    (folder / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = Program(folder)(
        *("encrypt", "in.jsonl", "-o", "out.jsonl", "--rate", "off", *service.target),
        environ=service.credentials,
    )
    assert done.code == 1, done.stderr
    results = (folder / "out.jsonl").read_bytes().splitlines(keepends=True)
    random.Random(5).shuffle(results)  # noqa: S311 - an order, no secret
    (folder / "out.jsonl").write_bytes(b"".join(results))
    return Encrypted(service, folder, results)


def _urls(encrypted: Encrypted) -> dict[int, str]:
    """The plaintexts of rows without a context, of a shape that is never the same twice."""
    lines = (encrypted.folder / "in.jsonl").read_text().splitlines()
    given = dict(enumerate(map(json.loads, lines), start=1))
    return {
        seq: row["plaintext"]
        for seq, row in given.items()
        if not row.get("encryption_context") and row["plaintext"].startswith("postgresql")
    }


def _found(summary: Row) -> list[tuple[str, int | None]]:
    return [(finding["kind"], finding.get("seq")) for finding in summary["findings"]]


def _line_of(seq: int, encrypted: Encrypted) -> int:
    lines = (encrypted.folder / "bad.jsonl").read_bytes().splitlines()
    return 1 + [json.loads(line)["seq"] for line in lines].index(seq)


def test_a_right_output_is_verified_row_by_row(encrypted: Encrypted) -> None:
    ended, summary = encrypted.verify(output="out.jsonl")
    assert ended.code == summary["exit_code"] == 1
    assert summary["counts"] == {}
    assert summary["verified"] == summary["calls"] == ROWS - BROKEN
    assert summary["unverified"]["failed_before"] == BROKEN
    assert ended.stderr.startswith("batchkms: verify out.jsonl: 5,000 rows, 4,993 with a")
    assert "4,993 calls" in ended.stderr.splitlines()[0]


def _flipped(rows: list[Row]) -> None:
    blob = rows[0]["ciphertext"]
    at = len(blob) - 20
    rows[0]["ciphertext"] = blob[:at] + ("A" if blob[at] != "A" else "B") + blob[at + 1 :]


def _swapped(rows: list[Row]) -> None:
    first, second = rows
    first["ciphertext"], second["ciphertext"] = second["ciphertext"], first["ciphertext"]


def _other_context(rows: list[Row]) -> None:
    rows[0]["encryption_context"] = '{"app":"another"}'


def test_one_flipped_byte_is_found(encrypted: Encrypted) -> None:
    encrypted.damaged(1234, change=_flipped)
    ended, summary = encrypted.verify()
    assert (ended.code, _found(summary)) == (6, [("corrupted", 1234)])
    assert summary["findings"][0]["line"] == _line_of(1234, encrypted)
    assert summary["verified"] == ROWS - BROKEN - 1


def test_two_swapped_rows_are_found(encrypted: Encrypted) -> None:
    one, *_, other = _urls(encrypted)
    encrypted.damaged(one, other, change=_swapped)
    ended, summary = encrypted.verify()
    assert ended.code == 6
    assert sorted(_found(summary)) == sorted([("swapped", one), ("swapped", other)])
    texts = {finding["seq"]: finding["text"] for finding in summary["findings"]}
    assert texts[one] == f"decrypts to the plaintext of row {other}"


def test_one_changed_context_is_found_without_a_call(encrypted: Encrypted) -> None:
    encrypted.damaged(77, change=_other_context)
    ended, summary = encrypted.verify()
    assert (ended.code, _found(summary)) == (6, [("context", 77)])
    assert summary["calls"] == ROWS - BROKEN - 1


def test_one_missing_and_one_extra_row_are_found(encrypted: Encrypted) -> None:
    rows = encrypted.rows()
    missing = rows.pop(4321)
    rows[ROWS + 9] = {**missing, "seq": ROWS + 9, "id": "extra"}
    encrypted.write([json.dumps(row).encode() + b"\n" for row in rows.values()])
    ended, summary = encrypted.verify()
    assert ended.code == 6
    assert sorted(_found(summary)) == [("extra", ROWS + 9), ("missing", 4321)]
    assert {finding["id"] for finding in summary["findings"]} == {"extra", missing["id"]}


def test_all_of_it_at_once_is_told_apart_and_named_by_line(encrypted: Encrypted) -> None:
    rows, (one, other, *_) = encrypted.rows(), _urls(encrypted)
    _flipped([rows[50]])
    _swapped([rows[one], rows[other]])
    _other_context([rows[60]])
    rows[70]["id"] = "somebody else"
    lines = [json.dumps(row).encode() + b"\n" for row in rows.values()]
    lines.insert(100, lines[7])
    lines.insert(200, b'{"seq": 1, "id": torn\n')
    lines.insert(300, json.dumps({**rows[50], "seq": 2**62}).encode() + b"\n")
    lines.append(b'{"seq":12')
    encrypted.write(lines)
    ended, summary = encrypted.verify()
    assert ended.code == 6
    assert summary["counts"] == {
        **{"corrupted": 1, "swapped": 2, "context": 1, "id": 1},
        **{"duplicated": 1, "damaged": 2, "extra": 1},
    }
    by_kind = {finding["kind"]: finding for finding in summary["findings"]}
    assert by_kind["duplicated"]["line"] == 101
    assert {each["line"] for each in summary["findings"] if each["kind"] == "damaged"} == {
        201,
        len(lines),
    }
    assert by_kind["extra"]["line"] == 301
    assert by_kind["extra"]["seq"] == 2**62
    told = ended.stdout + ended.stderr
    assert not any(secret in told for secret in _urls(encrypted).values())


def test_rows_beside_the_sample_are_checked_as_far_as_no_call_is_needed(
    encrypted: Encrypted,
) -> None:
    def change(rows: list[Row]) -> None:
        rows[0]["ciphertext"] = ""
        del rows[1]["ciphertext"]
        rows[2]["ciphertext"] = "no blob!"
        for row in rows[3:]:
            row |= {"encryption_context": '{"app":"another"}', "source_key_id": "k"}
            row["reencrypted"] = True

    encrypted.damaged(10, 20, 30, 40, 50, change=change)
    ended, summary = encrypted.verify("--sample", "1", "--seed", "1")
    assert (ended.code, summary["calls"]) == (6, 1), ended.stderr
    assert sorted(_found(summary)) == [("corrupted", seq) for seq in (10, 20, 30)]
    assert summary["unverified"]["rows"] == BROKEN + 2
    assert summary["unverified"]["codes"]["ContextNotDecrypted"] == 2
    assert summary["not_chosen"] == ROWS - BROKEN - 1 - 3 - 2
    assert "2 rows that are not in the sample were reencrypted" in ended.stderr


def test_a_sample_is_the_same_for_a_seed(encrypted: Encrypted) -> None:
    runs = [
        encrypted.verify("--sample", "50", "--seed", seed, output="out.jsonl")[1]
        for seed in ("1", "1")
    ]
    for summary in runs:
        assert summary["calls"] == summary["verified"] == summary["cost"]["calls"] == 50
        assert summary["not_chosen"] == ROWS - BROKEN - 50
        assert (summary["sample"], summary["seed"]) == (50, 1)


def test_more_than_there_are_is_all_of_them(encrypted: Encrypted) -> None:
    ended, summary = encrypted.verify("--sample", "1000000", output="out.jsonl")
    assert ended.code == 1
    assert summary["verified"] == ROWS - BROKEN


def test_damage_outside_the_sample_is_found_where_no_call_is_needed(encrypted: Encrypted) -> None:
    encrypted.damaged(77, change=_other_context)
    ended, summary = encrypted.verify("--sample", "1", "--seed", "3")
    assert (ended.code, _found(summary)) == (6, [("context", 77)])
