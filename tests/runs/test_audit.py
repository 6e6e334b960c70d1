"""The audit names exactly what was changed, whatever is done to the rows."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms import rowset
from batchkms.records import Result
from batchkms.runs.audit import OutputAudit
from batchkms.runs.fileoutput import sums_path
from batchkms.runs.rowsums import packed
from batchkms.sinks.jsonl import JsonlSink

ROWS = 12


def _row(seq: int, text: str = "A") -> bytes:
    result = Result(seq=seq, id=str(seq), status="ok", key_id="k", ciphertext=text, attempts=1)
    return JsonlSink().encode([result])[0]


GOOD = [_row(seq) for seq in range(1, ROWS + 1)]


def _audited(folder: Path, rows: list[bytes]) -> OutputAudit:
    output = folder / "out.jsonl"
    output.write_bytes(b"".join(rows))
    sums_path(output).write_bytes(packed(range(1, ROWS + 1), GOOD))
    manifest: dict[str, Any] = {
        "output": {"format": "jsonl", "sha256": "the digest of the run"},
        "counts": {"rows": ROWS, "ok": ROWS, "failed": 0, "by_class": {}, "by_key": {"k": ROWS}},
    }
    audit = OutputAudit(output, manifest)
    audit.run()
    return audit


def _kinds(audit: OutputAudit) -> set[str]:
    """The kinds of findings; the digest of these manifests is never right."""
    return set(audit.findings.counts) - {"digest", "count"}


def test_nothing_is_named_where_nothing_was_changed(tmp_path: Path) -> None:
    audit = _audited(tmp_path, GOOD)
    assert _kinds(audit) == set()
    assert "count" not in audit.findings.counts


@given(data=st.data())
def test_what_was_done_is_what_is_named(tmp_path_factory: Any, data: st.DataObject) -> None:
    rows = dict(enumerate(GOOD, start=1))
    seqs = list(rows)
    edited = data.draw(st.sets(st.sampled_from(seqs), max_size=3))
    missing = data.draw(st.sets(st.sampled_from(seqs), max_size=3)) - edited
    written = [_row(seq, "B") if seq in edited else rows[seq] for seq in seqs if seq not in missing]
    audit = _audited(tmp_path_factory.mktemp("audit"), written)
    named = set(audit.findings.named)
    assert {f"row {seq} is missing" for seq in missing} <= named
    for seq in edited:
        assert any(text.endswith(f"row {seq} was changed") for text in named)
    assert _kinds(audit) == {
        kind for kind, seqs in {"edited": edited, "missing": missing}.items() if seqs
    }
    assert audit.findings.counts["edited"] == len(edited)
    assert audit.findings.counts["missing"] == len(missing)


@given(order=st.permutations(range(1, ROWS + 1)))
def test_rows_in_another_order_are_only_reordered(tmp_path_factory: Any, order: list[int]) -> None:
    audit = _audited(tmp_path_factory.mktemp("audit"), [_row(seq) for seq in order])
    moved = order != sorted(order)
    assert _kinds(audit) == ({"reordered"} if moved else set())


def test_doubled_and_added_rows_are_named(tmp_path: Path) -> None:
    audit = _audited(tmp_path, [*GOOD, GOOD[2], _row(99)])
    assert _kinds(audit) == {"duplicated", "added"}
    assert f"line {ROWS + 1}: row 3 is there for a second time" in audit.findings.named
    assert f"line {ROWS + 2}: row 99 was not written by the run" in audit.findings.named


def test_counts_that_differ_are_told_in_words(tmp_path: Path) -> None:
    audit = _audited(tmp_path, [_row(seq) for seq in range(1, 1_201)])
    assert f"the number of rows (rows) is 1,200 and was {ROWS}" in audit.findings.named
    assert f"the count by key is k 1,200 and was k {ROWS}" in audit.findings.named


def test_a_damaged_file_of_checksums_is_told_as_such(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_bytes(b"".join(GOOD))
    sums_path(output).write_bytes(packed(range(1, ROWS + 1), GOOD)[:50])
    manifest: dict[str, Any] = {
        "output": {"format": "jsonl", "sha256": hashlib.sha256(b"".join(GOOD)).hexdigest()},
        "counts": {"rows": ROWS, "ok": ROWS, "failed": 0, "by_class": {}, "by_key": {"k": ROWS}},
    }
    audit = OutputAudit(output, manifest)
    audit.run()
    assert dict(audit.findings.counts) == {"sums": 1}
    assert audit.findings.named == [f"{sums_path(output)} is damaged; the output is not"]


def test_many_differences_are_counted_and_a_hundred_named(tmp_path: Path) -> None:
    audit = _audited(tmp_path, [_row(seq, "B") for seq in range(1, ROWS + 1)] + [GOOD[0]] * 300)
    assert audit.findings.counts["duplicated"] == 300
    assert sum("second time" in text for text in audit.findings.named) == 100


def test_rows_without_end_are_no_more_than_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rowset, "MOST_CHUNKS", 3)
    audit = _audited(tmp_path, [*GOOD, *(_row(10**6 * n) for n in range(1, 9))])
    assert _kinds(audit) == {"added", "damaged"}
    assert audit.findings.counts["added"] == 2
    assert "row 3000000: " in audit.findings.named[2]


def test_checksums_without_end_are_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowset, "MOST_CHUNKS", 3)
    output = tmp_path / "out.jsonl"
    output.write_bytes(b"".join(GOOD))
    seqs = [*range(1, ROWS + 1), *(10**6 * n for n in range(1, 9))]
    sums_path(output).write_bytes(packed(seqs, [*GOOD, *[b""] * 8]))
    manifest: dict[str, Any] = {
        "output": {"format": "jsonl", "sha256": "another"},
        "counts": {"rows": ROWS, "ok": ROWS, "failed": 0, "by_class": {}, "by_key": {"k": ROWS}},
    }
    audit = OutputAudit(output, manifest)
    audit.run()
    assert _kinds(audit) == {"sums", "missing"}
