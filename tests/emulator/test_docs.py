"""docs/emulator.md: its snippets run, its tables say what the program does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchkms.emulator.actions import ACTIONS
from batchkms.emulator.faults import EFFECTS
from batchkms.emulator.faults.rule import parse_rule
from batchkms.emulator.tiers import TIERS
from tests.emulator.test_cli import running

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs" / "emulator.md").read_text(encoding="utf-8")


def snippets(kind: str) -> list[str]:
    """The code blocks that are marked to be run in one way."""
    found = re.findall(rf"<!-- run: {kind} -->\n```\w+\n(.*?)```", DOC, re.DOTALL)
    assert found, kind
    return found


def table(heading: str) -> list[list[str]]:
    """The rows of the first table whose head begins with a cell."""
    rows = DOC.partition(f"| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in rows]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with the ready file of an emulator that runs."""
    ready = str(tmp_path / "emulator.json")
    with running("--data-dir", str(tmp_path / "data"), "--ready-file", ready):
        yield tmp_path


def ran(folder: Path, *command: str) -> str:
    """What a command prints that ends well."""
    # The program and the interpreter of this environment come first.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command,
        cwd=folder,
        env={"PATH": path, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("code", snippets("python"), ids=["sync", "async"])
def test_the_python_snippets_encrypt(folder: Path, code: str) -> None:
    assert len(ran(folder, sys.executable, "-c", code).strip()) == 166


SHELL_PRINTS = ('"status":"ok"', '"CiphertextBlob":"', '"seen":0,"hits":0}]}{"faults":[]}')


@pytest.mark.parametrize(
    ("code", "expected"), list(zip(snippets("shell"), SHELL_PRINTS, strict=True))
)
def test_the_shell_snippets_do_what_they_say(folder: Path, code: str, expected: str) -> None:
    (function,) = snippets("shell function")
    assert expected in ran(folder, "bash", "-euc", function + code)


def test_the_pytest_snippet_passes(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(snippets("pytest")[0])
    plugins = ("-p", "batchkms.pytest_plugin", "-p", "no:cacheprovider", "-p", "no:asyncio")
    autoload = ("env", "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1")
    out = ran(tmp_path, *autoload, sys.executable, "-m", "pytest", "-q", *plugins, "test_mine.py")
    assert "1 passed" in out


def test_the_fault_file_is_one() -> None:
    rules = tomllib.loads(snippets("faults")[0])["fault"]
    assert [parse_rule(rule, "rule").changes_quota for rule in rules] == [False, False, True]


def test_every_effect_is_told() -> None:
    told = [name for row in table("effect") for name in re.findall(r"`([\w-]+)`", row[0])]
    assert sorted(told) == sorted(EFFECTS)


def test_every_tier_is_told_with_its_limits() -> None:
    told = {
        row[0].strip("`"): [int(cell.replace(",", "")) for cell in row[1:]] for row in table("tier")
    }
    assert told == {
        name: [tier.symmetric, tier.asymmetric, tier.public_key, tier.random]
        for name, tier in TIERS.items()
    }


def test_every_action_is_told() -> None:
    section = DOC.partition("## What is emulated")[2].partition("\n## ")[0]
    words = set(re.findall(r"\w+(?:\(s\))?", section))
    plural = {word.removesuffix("(s)") + "s" for word in words if word.endswith("(s)")}
    single = {word.removesuffix("(s)") for word in words}
    assert set(ACTIONS) <= plural | single


def test_every_option_that_is_told_exists() -> None:
    shown = ran(ROOT, sys.executable, "-m", "batchkms", "emulator", "--help")
    shown += ran(ROOT, sys.executable, "-m", "batchkms", "encrypt", "--help")
    elsewhere = {"--endpoint", "--KeyId", "--Plaintext", "--rm", "--data-urlencode"}
    told = set(re.findall(r"(?<![\w-])--[A-Za-z][\w-]*", DOC)) - elsewhere
    assert {option for option in told if option not in shown} == set()


def test_every_link_leads_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", DOC, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([\w-]+)\)", DOC)) <= anchors
    for path in re.findall(r"\]\((\.\./[\w./-]+)\)", DOC):
        assert (ROOT / "docs" / path).is_file()


def test_the_dockerfile_copies_what_the_package_needs_and_runs_as_nobody_special() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    copied = {
        name for line in re.findall(r"^COPY (.*) \S+$", dockerfile, re.M) for name in line.split()
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {project["project"]["readme"], *project["project"]["license-files"]}
    needed |= set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert needed | {"pyproject.toml"} == copied
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    assert kept == copied
    assert re.search(r"^USER emulator$", dockerfile, re.M)
