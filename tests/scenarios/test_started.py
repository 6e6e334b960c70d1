"""A process of the forker is what `python -m batchkms` would be."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenarios.conftest import Program
from tests.scenarios.ended import Ended
from tests.scenarios.forker import LIBRARIES

SHIM = """
import json, os, sys
seen = {"path": sys.path[:2], "argv": sys.argv[1:], "folder": os.getcwd()}
seen["environ"] = {name: text for name, text in os.environ.items() if name != "LC_CTYPE"}
seen["signals"] = [str(signal.getsignal(each)) for each in SIGNALS]
for name in ("stdin", "stdout", "stderr"):
    s = getattr(sys, name)
    seen[name] = [s.encoding, s.errors, s.line_buffering, s.isatty(), s.seekable()]
seen["files"] = sorted(map(int, os.listdir("/proc/self/fd")))[:3]
seen["own"] = [name for name in sys.modules if name.startswith("batchkms")]
with open("seen.json", "w") as file:
    json.dump(seen, file, default=str)
"""


def _by_itself(batchkms: Program, *arguments: str, **given: object) -> Ended:
    done = subprocess.run(
        batchkms.command(*arguments),
        cwd=batchkms.folder,
        capture_output=True,
        check=False,
        **given,  # type: ignore[call-overload]  # what each test gives
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_it_begins_as_an_interpreter_of_its_own(batchkms: Program) -> None:
    names = ["SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE", "SIGCHLD"]
    signals = f"import signal\nSIGNALS = [{', '.join(f'signal.{name}' for name in names)}]\n"
    (batchkms.folder / "shim").mkdir()
    batchkms.write("shim/sitecustomize.py", signals + SHIM)
    source = batchkms.write("in.jsonl", '{"id":"a"}\n')
    environ = {"PYTHONPATH": str(batchkms.folder / "shim"), "BATCHKMS_RATE": "5"}
    command = ("inspect", "-", "--format", "jsonl")
    ended = batchkms(*command, stdin=source, environ=environ)
    seen = json.loads((batchkms.folder / "seen.json").read_bytes())
    with source.open("rb") as stdin:
        alone = _by_itself(batchkms, *command, stdin=stdin, env=batchkms.environ(environ))
    expected = json.loads((batchkms.folder / "seen.json").read_bytes())
    assert ended == alone
    # An interpreter puts the folder first, and its arguments are known, only after this.
    assert seen.pop("path") == [str(batchkms.folder), expected.pop("path")[0]]
    assert seen.pop("argv") == list(command)
    del expected["argv"]
    assert seen == expected
    assert seen["own"] == []


@pytest.mark.parametrize(
    "arguments",
    [("--version",), (), ("encript",), ("inspect", "gone.jsonl"), ("audit", "--help")],
)
def test_it_ends_as_a_process_of_its_own(batchkms: Program, arguments: tuple[str, ...]) -> None:
    assert batchkms(*arguments) == _by_itself(batchkms, *arguments, env=batchkms.environ())


def test_a_signal_that_ends_it_is_told(batchkms: Program) -> None:
    (batchkms.folder / "shim").mkdir()
    batchkms.write("shim/sitecustomize.py", "import os\nos.kill(os.getpid(), 15)\n")
    ended = batchkms("--version", environ={"PYTHONPATH": str(batchkms.folder / "shim")})
    assert ended == Ended(-signal.SIGTERM, "", "")


def test_what_is_loaded_beforehand_is_nothing_of_batchkms(tmp_path: Path) -> None:
    code = f"import importlib, sys; [importlib.import_module(name) for name in {LIBRARIES}]; "
    code += "print([name for name in sys.modules if name.startswith('batchkms')])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "[]\n"
