"""No two files of a load test are the same, and none is its input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchkms.errors import ConfigError
from batchkms.loadrules import _check_files

NONE: dict[str, Any] = dict.fromkeys(("input", "output", "report", "junit", "hgrm"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"output": "a", "report": "./a"}, "--output and --report name the same file"),
        ({"output": "a", "report": "a.run.json"}, "the record of --output and --report"),
        ({"output": "a", "junit": "a.partial"}, "the unfinished --output and --junit"),
        ({"hgrm": "a.hgrm", "report": "x/../a.send.hgrm"}, "--report and the second file of"),
        ({"output": "a", "junit": "link"}, "--output and --junit name the same file"),
        ({"output": "a", "input": "link"}, "--output link is the input itself"),
        ({"output": "a", "input": "./a.run.json"}, "the record of --output .* is the input"),
        ({"hgrm": "a.hgrm", "input": "a.send.hgrm"}, "the second file .* is the input itself"),
        ({"report": "-"}, "--report takes a file"),
    ],
)
def test_files_that_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("a")
    with pytest.raises(ConfigError, match=message):
        _check_files({**NONE, **given})


def test_files_that_are_not() -> None:
    _check_files({"input": "-", "output": "-", "report": "a", "junit": "b", "hgrm": "a.hgrm"})
    _check_files({"input": "i", "output": "a", "report": "a.html", "junit": "b", "hgrm": "c"})
