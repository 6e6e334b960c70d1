"""The one command of the benchmarks works, and its tables say what the rounds came to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.tables import Column, Figures, Table, by_turns

TOP = Path(__file__).parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)


def test_two_parts_from_the_command_to_the_files(tmp_path: Path) -> None:
    files = ("--json", str(tmp_path / "all.json"), "--markdown", str(tmp_path / "all.md"))
    done = run("--quick", "startup", "memory", "--most-rows", "200", *files)
    assert (done.returncode, done.stderr) == (0, "")
    content = json.loads((tmp_path / "all.json").read_text())
    assert (content["quick"], content["rounds"], content["failed"]) == (True, 1, {})
    assert {"CPU", "cores", "kernel", "Python"} <= content["machine"].keys()
    assert {"batchkms", "aiohttp", "uvloop"} <= content["versions"].keys()
    assert [*content["parts"]] == ["memory", "startup"]
    (memory,), (times, imports) = (part["tables"] for part in content["parts"].values())
    assert memory["notes"] == [
        "100 MB at the most, and 10 MB from the smallest to the largest: held."
    ]
    assert len(memory["rounds"]) == 5
    for peaks in memory["medians"].values():
        assert 10 < peaks["peak_mb_200"] < 100
    ours = times["rounds"]["batchkms --version"]
    assert len(ours) == 5
    assert times["medians"]["batchkms --version"]["wall_ms"] in [one["wall_ms"] for one in ours]
    assert times["ratios"]["times Python alone"]["batchkms --version"] > 1
    assert len(imports["rounds"]) == 10
    assert (tmp_path / "all.md").read_text() == done.stdout
    assert "| batchkms --version | " in done.stdout


@pytest.mark.long
def test_the_breakdown_in_its_quick_form(tmp_path: Path) -> None:
    done = run("--quick", "breakdown", "--json", str(tmp_path / "all.json"))
    assert (done.returncode, done.stderr) == (0, "")
    (breakdown,) = json.loads((tmp_path / "all.json").read_text())["parts"]["breakdown"]["tables"]
    made = {part: figures["us"] for part, figures in breakdown["medians"].items()}
    assert [*made][:2] == ["read", "queue"]
    # By how many rows it is divided must be how many there were: signing takes microseconds.
    assert 0.5 < made["sign"] < 200
    assert sum(made[part] for part in ("read", "sign", "send", "parse")) < made["command, CPU"] * 2


def test_a_part_that_is_none() -> None:
    done = run("loadtests")
    assert done.returncode == 2
    assert "no part loadtests: there are end-to-end, loadtest, " in done.stderr


def table(**rounds: list[Figures]) -> Table:
    columns = (Column("a second", "rate", ",.0f"), Column("of b", "rate", ".2f", of="b"))
    return Table(title="T", about="A.", first="who", columns=columns, rounds=rounds, notes=["N."])


def test_medians_and_ratios() -> None:
    made = table(a=[{"rate": 1.0}, {"rate": 9000.0}, {"rate": 3000.0}], b=[{"rate": 4000.0}])
    assert made.markdown() == (
        "## T\n\nA.\n\n| who | a second | of b |\n|---|---|---|\n"
        "| a | 3,000 | 0.75 |\n| b | 4,000 | 1.00 |\n\nN.\n"
    )
    assert made.as_json()["ratios"] == {"of b": {"a": 0.75, "b": 1.0}}


@pytest.mark.parametrize("b", [[], [{"other": 1.0}], [{"rate": 0.0}]])
def test_no_ratio_to_what_was_not_measured(b: list[Figures]) -> None:
    assert "| a | 3 |  |" in table(a=[{"rate": 3.0}], b=b).markdown()


def test_everybody_has_a_turn_in_every_round() -> None:
    turns: list[str] = []

    def client(name: str) -> Figures:
        turns.append(name)
        return {"number": float(len(turns))}

    made = by_turns({"a": lambda: client("a"), "b": lambda: client("b")}, 2)
    assert turns == ["a", "b", "a", "b"]
    assert made == {
        "a": [{"number": 1.0}, {"number": 3.0}],
        "b": [{"number": 2.0}, {"number": 4.0}],
    }
