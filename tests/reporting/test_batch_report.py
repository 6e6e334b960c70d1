"""The report of a batch run: counts, rates against the quota, and no secret of the results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batchkms.errors import ConfigError, InputError
from batchkms.records import ErrorClass, Result
from batchkms.reporting.batchfigures import MOST_ATTEMPTS, read_batch
from batchkms.reporting.html.batch import allowed_rate, rate_plots, render_batch
from batchkms.runs.manifest import Manifest
from batchkms.sinks import open_sink

SECRETS = ("canary-plaintext", "canary-ciphertext", "canary-context", "canary-message", "canary-id")


def _row(seq: int) -> Result:
    if seq % 50 == 0:
        return Result(
            seq=seq,
            id="canary-id",
            status="failed",
            error_class=ErrorClass.THROTTLED,
            code="RequestLimitExceeded",
            message="canary-message",
            request_id=f"request-{seq}",
            attempts=8,
            latency_ms=2.5,
        )
    return Result(
        seq=seq,
        id="canary-id",
        status="ok",
        ciphertext="canary-ciphertext",
        plaintext="canary-plaintext",
        encoding="utf8",
        encryption_context='{"canary-context":"1"}',
        attempts=1 + (seq % 20 == 0),
        latency_ms=5 + seq % 7,
    )


def _segment(begin: str, calls: list[int]) -> dict[str, Any]:
    windows = [
        {"t": t, "calls": n, "ok": n - 2, "failed": 1, "throttled": 1, "retries": 1}
        for t, n in enumerate(calls)
    ]
    return {"started_at": begin, "window_s": 1, "windows": windows}


MANIFEST: dict[str, Any] = {
    "format": 1,
    "batchkms": "0.1.0",
    "command": "encrypt",
    "state": "finished",
    "started_at": "2026-11-24T15:00:00.000Z",
    "ended_at": "2026-11-24T15:00:04.000Z",
    "input": {"path": "inventory.csv", "format": "csv"},
    "output": {"path": "out.jsonl", "format": "jsonl"},
    "settings": {"rate": 300, "reserve": "10%", "ordered": False},
    "counts": {
        **{"rows": 1000, "ok": 980, "failed": 20, "by_class": {"throttled": 20}, "by_key": {}},
        **{"calls": 1190, "retries": 190, "throttled": 160},
    },
    "timeline": [_segment("2026-11-24T15:00:00.000Z", [270, 260, 268, 200])],
}


def run_of(folder: Path, **changes: Any) -> Path:
    """A result file with its manifest."""
    path = folder / "out.jsonl"
    sink = open_sink("out.jsonl", columns=("plaintext", "encoding"))
    path.write_bytes(b"".join(sink.encode([_row(seq) for seq in range(1, 1001)])))
    manifest = {name: value for name, value in {**MANIFEST, **changes}.items() if value is not None}
    (folder / "out.jsonl.run.json").write_text(json.dumps(manifest))
    return path


def test_a_run_is_told_without_anything_secret(tmp_path: Path) -> None:
    figures = read_batch(str(run_of(tmp_path)))
    html = render_batch(figures, "out.jsonl")
    for word in (
        *("SOME FAILED", "20 of 1,000 rows failed", "RequestLimitExceeded", "request-50", "270"),
        *("batchkms encrypt of inventory.csv", "190 retries", "throttled", "of 270.0/s allowed"),
    ):
        assert word in html, word
    assert not [secret for secret in SECRETS if secret in html]
    told = f"{figures.as_text()} {json.dumps(figures.as_json())}"
    assert not [secret for secret in SECRETS if secret in told]


def test_the_counts_are_those_of_the_rows(tmp_path: Path) -> None:
    figures = read_batch(str(run_of(tmp_path)))
    assert (figures.rows, figures.ok, figures.notes) == (1000, 980, [])
    assert figures.by_attempts == {1: 940, 2: 40, 8: 20}
    assert figures.calls == 940 + 80 + 160
    assert figures.latencies["throttled"].max_ms == 2.5
    assert figures.latency.total == 1000
    figures.count(Result(seq=1, id="x", status="ok", attempts=10**9))
    assert max(figures.by_attempts) == MOST_ATTEMPTS


def test_the_rate_is_shown_against_the_quota() -> None:
    (plot,) = rate_plots(MANIFEST)
    lines = {trace["name"]: trace for trace in plot.data}
    assert lines["calls"]["y"] == [270, 260, 268, 200, None]
    assert lines["calls"]["x"][:4] == [0.5, 1.5, 2.5, 3.5]
    assert lines["quota"]["y"] == [270, 270]


@pytest.mark.parametrize(("ended", "rates"), [(".600", [270, 100]), (".300", [270])])
def test_a_last_window_is_as_long_as_the_run_was_in_it(ended: str, rates: list[float]) -> None:
    begin = "2026-11-24T15:00:00.000Z"
    short = {**MANIFEST, "timeline": [_segment(begin, [270, 60])]}
    (plot,) = rate_plots({**short, "ended_at": f"2026-11-24T15:00:01{ended}Z"})
    lines = {trace["name"]: trace for trace in plot.data}
    assert lines["calls"]["y"][:-1] == pytest.approx(rates)
    # A clock that was put back in the meantime is no reason to fail.
    assert rate_plots({**short, "ended_at": "2026-11-24T14:00:00.000Z"})


def test_a_resumed_run_has_its_parts_where_they_were_and_each_rate_from_its_change() -> None:
    changed = [{"at": "2026-11-24T15:01:01.000Z", "rate": 100, "calls_per_second": 90}]
    again = _segment("2026-11-24T15:01:00.000Z", [88, 89])
    ended = {"ended_at": "2026-11-24T15:01:02.000Z", "changed": changed}
    resumed = {**MANIFEST, **ended, "timeline": [*MANIFEST["timeline"], again]}
    (plot,) = rate_plots(resumed)
    lines = {trace["name"]: trace for trace in plot.data}
    assert lines["calls"]["x"][5:7] == [60.5, 61.5]
    # Nothing is drawn over the time in which nothing ran.
    assert lines["calls"]["y"][4] is None
    assert lines["quota"]["y"] == [None, 90, 90] and lines["quota"]["x"] == [0, 61, 62]


def test_a_manifest_without_a_timeline_or_none_at_all_is_enough(tmp_path: Path) -> None:
    path = run_of(tmp_path, timeline=None)
    html = render_batch(read_batch(str(path)), "old")
    assert "The manifest has no timeline" in html and 'id="rate"' not in html
    (tmp_path / "out.jsonl.run.json").unlink()
    html = render_batch(read_batch(str(path)), "bare")
    assert "There is no manifest" in html and 'id="percentiles"' in html
    (tmp_path / "out.jsonl.run.json").write_text("{}")
    assert "The manifest is not used" in render_batch(read_batch(str(path)), "damaged")


def test_a_run_that_goes_on_or_does_not_match_is_told(tmp_path: Path) -> None:
    path = run_of(tmp_path, state="interrupted")
    html = render_batch(read_batch(str(path)), "x")
    assert "INTERRUPTED" in html and "not come to its end" in html
    path.write_bytes(path.read_bytes() + path.read_bytes())
    figures = read_batch(str(run_of(tmp_path, counts={**MANIFEST["counts"], "rows": 7})))
    assert "counts 7 rows and the file holds 1,000" in figures.notes[0]


def test_a_torn_row_is_told_in_a_partial_file_and_refused_elsewhere(tmp_path: Path) -> None:
    path = run_of(tmp_path)
    torn = path.read_bytes()[:-20]
    partial = tmp_path / "out.jsonl.partial"
    partial.write_bytes(torn)
    assert "The last row is torn" in read_batch(str(partial)).notes[0]
    path.write_bytes(torn)
    with pytest.raises(InputError, match=r"out\.jsonl: line 1,000"):
        read_batch(str(path))


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        ({"rate": 300, "reserve": "10%"}, 270),
        ({"rate": 1, "reserve": "90%"}, 1),
        ({"rate": 300}, 300),
        ({"rate": "off"}, None),
        ({"rate": "auto", "reserve": "10%"}, None),
        ({"rate": True}, None),
        ({"rate": 300, "reserve": "much"}, 300),
        ({}, None),
    ],
)
def test_the_rate_that_settings_allow(settings: dict[str, Any], allowed: int | None) -> None:
    assert allowed_rate(settings) == allowed


@pytest.mark.parametrize("latency", ["1e308", "-1e308", "-1", "1e12", "NaN", "Infinity"])
def test_a_latency_that_cannot_be_is_refused(tmp_path: Path, latency: str) -> None:
    row = '{"seq":1,"id":"a","status":"failed","class":"internal","code":"X","latency_ms":%s}'
    (tmp_path / "o.jsonl").write_text(row % latency + "\n")
    head = "seq,id,status,key_id,ciphertext,encryption_context,class,code,message,request_id,"
    (tmp_path / "o.csv").write_text(
        f"{head}attempts,latency_ms\n1,a,failed,,,,internal,X,,,1,{latency}\n"
    )
    for name, line in (("o.jsonl", 1), ("o.csv", 2)):
        with pytest.raises(InputError, match=rf"{name}: line {line}: "):
            read_batch(str(tmp_path / name))


@pytest.mark.parametrize("wrong", [{"calls": "x"}, {"retries": None}, {"throttled": -1}])
def test_a_manifest_with_wrong_counts_is_not_used(tmp_path: Path, wrong: dict[str, Any]) -> None:
    counts = {"rows": 1, "ok": 1, "failed": 0, "by_class": {}, "by_key": {}, **wrong}
    content = {
        **{"format": 1, "command": "encrypt", "state": "finished", "settings": {}},
        **{"input": {"path": "i", "format": "csv"}, "output": {"path": "o", "format": "csv"}},
        "counts": counts,
    }
    path = tmp_path / "o.jsonl.run.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="is no manifest"):
        Manifest.load(path)
    path.write_text(json.dumps({**content, "counts": {**counts, **dict.fromkeys(wrong, 1)}}))
    assert Manifest.load(path) is not None
