"""`batchkms report` and `batchkms compare` as a user calls them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchkms.cli.main import main
from tests.loadtest.samples import FAILED, calls, record, written
from tests.reporting.test_batch_report import run_of

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command: its exit code, stdout and stderr."""

    def run_command(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return code, out, err

    return run_command


async def test_a_report_of_a_load_test_is_beside_its_results(tmp_path: Path, run: Run) -> None:
    path = await written(tmp_path / "out.jsonl.gz", calls(), record(slos=[FAILED]))
    code, out, err = run("report", path)
    assert (code, out) == (0, "")
    html = tmp_path / "out.jsonl.gz.html"
    assert f"batchkms: report: {html}" in err and "SLO p99<50ms: FAILED" in err
    assert "<h1>out.jsonl.gz</h1>" in html.read_text()
    assert html.stat().st_mode & 0o077 == 0
    code, _, err = run("report", path)
    assert code == 2 and "exists already" in err and "--overwrite" in err
    code, _, _ = run("report", path, "--overwrite")
    assert code == 0


async def test_the_summary_is_that_of_a_load_test(tmp_path: Path, run: Run) -> None:
    path = await written(tmp_path / "out.jsonl", calls(), record(invalid=["It lagged."]))
    code, out, _ = run("report", path, "--summary", "json", "-o", tmp_path / "r.html")
    figures = json.loads(out)
    assert code == 0 and figures["valid"] is False and figures["invalid"] == ["It lagged."]
    assert figures["rate"] == {"target": 100.0, "achieved": 100.0, "ok": 100.0}
    assert figures["classes"] == {"ok": 1000} and figures["report"].endswith("r.html")
    latency = figures["latency_ms"]["from_schedule"]
    assert list(latency) == ["p50", "p90", "p99", "p999", "max"]
    assert latency["p50"] < latency["p99"] <= latency["max"]


async def test_several_generators_become_one_report(tmp_path: Path, run: Run) -> None:
    first = await written(tmp_path / "a.jsonl", calls(), record())
    second = await written(tmp_path / "b.jsonl", calls(seed=2), record())
    code, _, err = run("report", first, second)
    assert code == 0 and "2,000, 200.0/s sent of 200.0/s asked" in err
    assert "2 generators" in (tmp_path / "a.jsonl.html").read_text()


def test_a_report_of_a_batch_run_goes_to_stdout(tmp_path: Path, run: Run) -> None:
    path = run_of(tmp_path)
    code, out, err = run("report", path, "-o", "-")
    assert code == 0 and out.startswith("<!DOCTYPE html>") and out.endswith("</html>\n\n")
    assert "1,000 rows, 980 ok, 20 failed" in err
    code, out, _ = run("report", path, "--summary", "json")
    assert code == 0 and json.loads(out)["classes"] == {"ok": 980, "throttled": 20}
    code, _, err = run("report", path, path, "--overwrite")
    assert code == 2 and "one by one" in err
    code, _, err = run("report", path, "-o", "-", "--summary", "json")
    assert code == 2 and "cannot both go to stdout" in err


async def test_mistakes_are_told_with_what_to_try(tmp_path: Path, run: Run) -> None:
    path = await written(tmp_path / "out.jsonl", calls(10), record(calls=10))
    (tmp_path / "batch").mkdir()
    batch = run_of(tmp_path / "batch")
    for arguments, message in (
        (("report", tmp_path / "none.jsonl"), "cannot be read"),
        (("report", "-"), "not from stdin"),
        (("report", tmp_path), "is a directory"),
        (("report", path, "-o", path, "--overwrite"), "is the input itself"),
        (("report", path, "-o", tmp_path / "no" / "r.html"), "there is no folder"),
        (("report", path, batch), "one by one"),
        (("compare", path, batch), "holds no results of a load test"),
        (("compare", path, tmp_path / "none.jsonl"), "cannot be read"),
        (("compare", path, f"{path},{path}"), "named twice"),
    ):
        code, _, err = run(*arguments)
        assert code == 2 and "batchkms: error: " in err and "batchkms: hint: " in err
        assert message in err.lower(), (arguments, err)
    assert not list(tmp_path.glob("*.html"))
    assert len(path.read_text().splitlines()) == 10


async def test_without_plotly_nothing_is_begun(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await written(tmp_path / "out.jsonl", calls(10), record(calls=10))
    found = importlib.util.find_spec

    def lacking(name: str, package: str | None = None) -> Any:
        return None if name == "plotly" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", lacking)
    code, _, err = run("report", path)
    assert code == 2 and "pip install 'batchkms[report]'" in err
    # And a comparison needs none of it.
    again = await written(tmp_path / "again.jsonl", calls(10), record(calls=10))
    assert run("compare", path, again)[0] == 0


async def test_a_comparison_tells_what_is_worse(tmp_path: Path, run: Run) -> None:
    usual = await written(tmp_path / "a.jsonl", calls(3000), record(calls=3000))
    again = await written(tmp_path / "b.jsonl", calls(3000, seed=2), record(calls=3000))
    slow = await written(tmp_path / "c,d.jsonl", calls(3000, slower=1.3), record(calls=3000))
    code, out, err = run("compare", usual, again, "--fail-on-regression")
    assert (code, out) == (0, "") and "every difference is within the noise" in err
    code, out, err = run("compare", usual, slow)
    assert (code, out) == (0, "") and "more than the noise; worse: p50 from schedule" in err
    code, out, _ = run("compare", usual, slow, "--fail-on-regression", "--summary", "json")
    content = json.loads(out)
    figures = {each["figure"]: each for each in content["differences"]}
    assert code == 6 and content["worse"] is True and content["warnings"] == []
    assert figures["p50 from send"]["outcome"] == "worse"
    assert figures["p50 from send"]["low"] > 0
    code, _, _ = run("compare", slow, usual, "--fail-on-regression")
    assert code == 0


async def test_a_side_of_several_generators_is_read_as_one(tmp_path: Path, run: Run) -> None:
    first = await written(tmp_path / "a.jsonl", calls(), record())
    second = await written(tmp_path / "b.jsonl", calls(seed=2), record())
    both = f"{first},{second}"
    code, out, _ = run("compare", first, both, "--summary", "json")
    content = json.loads(out)
    rate = content["differences"][0]
    assert code == 0 and rate["figure"] == "ok per second"
    assert (rate["a"], rate["b"]) == (pytest.approx(100, abs=1), pytest.approx(200, abs=2))
    assert content["warnings"] == ["A has 1 generators and B 2"]
