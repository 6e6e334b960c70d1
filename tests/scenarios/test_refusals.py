"""What a user does wrong: exit code 2, a message with a hint, nothing sent and nothing made."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios.conftest import Program

GOOD = '{"id":"a","plaintext":"example"}\n'


def _refused(batchkms: Program, *arguments: str, environ: dict[str, str] | None = None) -> str:
    """Runs a command that must be refused; the error and its hint, in one text."""
    before = {path: path.lstat().st_mtime_ns for path in batchkms.folder.iterdir()}
    ended = batchkms(*arguments, environ=environ)
    assert (ended.code, ended.stdout) == (2, "")
    assert "Traceback" not in ended.stderr
    (error,) = ended.errors
    (hint,) = ended.hints
    made = {path.name for path in batchkms.folder.iterdir()} - {path.name for path in before}
    assert made <= {"data"}, "nothing but the emulator's own keys may be made"
    assert {path: path.lstat().st_mtime_ns for path in before} == before
    return f"{error} | {hint}"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "no input was given | name a file, or - for stdin"),
        (("in.jsonl",), "no output was given"),
        (("in.jsonl", "-o", "out.jsonl"), "no CMK was given | add --key-id"),
        (("in.jsonl", "-o", "out.jsonl", "--key-id", "k"), "no region was given | add --region"),
        (("gone.jsonl", "-o", "out.jsonl", "--emulator"), "gone.jsonl cannot be read: No such"),
        ((".", "-o", "out.jsonl", "--emulator", "--format", "csv"), ". is a folder"),
        (("in.txt", "-o", "out.jsonl", "--emulator"), "the suffix of in.txt does not tell"),
        (("in.jsonl", "-o", "out.xlsx", "--emulator"), "the suffix of out.xlsx does not tell"),
        (("in.jsonl", "-o", "out.jsonl.gz", "--emulator"), "results are not written compressed"),
        (("in.jsonl", "-o", "no/out.jsonl", "--emulator"), "there is no folder no"),
        (("-", "-o", "out.jsonl", "--emulator"), "stdin has no suffix"),
        (("in.jsonl", "-o", "out.jsonl", "--emulator", "--rate", "fast"), "--rate takes a whole"),
        (("in.jsonl", "-o", "out.jsonl", "--emulator", "--rate", "0"), "--rate takes a whole"),
        (
            ("in.jsonl", "-o", "out.jsonl", "--emulator", "--timeout", "10"),
            "--timeout takes a time",
        ),
        (("in.jsonl", "-o", "out.jsonl", "--emulater"), "--emulater"),
        (("in.jsonl", "-o", "-", "--emulator", "--summary", "json"), "cannot both go to stdout"),
        (
            ("in.jsonl", "-o", "out.jsonl", "--emulator", "--endpoint", "http://127.0.0.1:1"),
            "--emulator and --endpoint cannot go together",
        ),
        (
            (
                "in.jsonl",
                "-o",
                "out.jsonl",
                "--key-id",
                "k",
                "--endpoint",
                "http://kms.example.com",
            ),
            "plain HTTP",
        ),
        (
            ("in.jsonl", "-o", "out.jsonl", "--emulator", "--config", "gone.toml"),
            "the job file gone.toml cannot be read",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_wrong_command_is_refused(
    batchkms: Program, arguments: tuple[str, ...], told: str
) -> None:
    batchkms.write("in.jsonl", GOOD)
    batchkms.write("in.txt", GOOD)
    assert told in _refused(batchkms, "encrypt", *arguments)


def test_a_wrong_name_in_a_job_file_is_refused_with_the_nearest_one(batchkms: Program) -> None:
    batchkms.write("job.toml", 'ouput = "out.jsonl"\n')
    told = _refused(batchkms, "encrypt", "--config", "job.toml")
    assert "job.toml: there is no option 'ouput' | the nearest name is 'output'" in told


def test_a_wrong_value_in_the_environment_is_refused(batchkms: Program) -> None:
    batchkms.write("in.jsonl", GOOD)
    told = _refused(
        batchkms,
        *("encrypt", "in.jsonl", "-o", "out.jsonl", "--emulator"),
        environ={"BATCHKMS_RESERVE": "half"},
    )
    assert "BATCHKMS_RESERVE takes a percentage" in told


def test_a_missing_column_is_refused_before_anything_is_sent(batchkms: Program) -> None:
    batchkms.write("in.csv", "id,secret\na,example\n")
    told = _refused(batchkms, "encrypt", "in.csv", "-o", "out.csv", "--emulator")
    assert "there is no column 'plaintext'" in told
    assert "--plaintext-field" in told


def test_a_missing_profile_or_credentials_file_is_refused(batchkms: Program) -> None:
    batchkms.write("in.jsonl", GOOD)
    command = ("encrypt", "in.jsonl", "-o", "out.jsonl", "--key-id", "k", "--region", "r")
    assert "prod" in _refused(batchkms, *command, "--profile", "prod")
    assert "gone.ini" in _refused(batchkms, *command, "--credentials", "gone.ini")


def _same(folder: Path) -> None:
    (folder / "out.jsonl").write_text(GOOD)


def _partial(folder: Path) -> None:
    (folder / "out.jsonl.partial").write_text(GOOD)


def _link(folder: Path) -> None:
    (folder / "out.jsonl").symlink_to("elsewhere.jsonl")


def _folder(folder: Path) -> None:
    (folder / "out.jsonl").mkdir()


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "out.jsonl")


def _hard_link(folder: Path) -> None:
    os.link(folder / "in.jsonl", folder / "out.jsonl")


def _link_to_input(folder: Path) -> None:
    (folder / "out.jsonl").symlink_to("in.jsonl")


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (_same, "the output out.jsonl exists already | name another one with -o, or add --over"),
        (_partial, "out.jsonl.partial holds the results of a run that did not end"),
        (_link, "the output out.jsonl is a symbolic link"),
        (_folder, "the output out.jsonl is a folder"),
        (_pipe, "the output out.jsonl is no regular file"),
        (_hard_link, "the output out.jsonl is the input itself"),
        (_link_to_input, "the output out.jsonl is the input itself"),
    ],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_must_not_be_written_is_refused(
    batchkms: Program, prepare: Callable[[Path], None], told: str, overwrite: bool
) -> None:
    batchkms.write("in.jsonl", GOOD)
    prepare(batchkms.folder)
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", "--emulator"]
    if overwrite and prepare in (_same, _partial):
        ended = batchkms(*command, "--overwrite")
        assert (ended.code, ended.errors) == (0, [])
        assert '"status":"ok"' in (batchkms.folder / "out.jsonl").read_text()
        assert not (batchkms.folder / "out.jsonl.partial").exists()
        return
    options = ["--overwrite"] if overwrite else []
    assert told in _refused(batchkms, *command, *options)


@pytest.mark.parametrize("command", ["verify", "inspect", "audit"])
@pytest.mark.parametrize("kind", ["FIFO", "device"])
def test_a_result_file_that_is_none_is_not_waited_for(
    batchkms: Program, command: str, kind: str
) -> None:
    batchkms.write("in.jsonl", GOOD)
    path = batchkms.folder / "out.jsonl"
    os.mkfifo(path) if kind == "FIFO" else path.symlink_to("/dev/zero")
    more = ["--against", "in.jsonl", "--emulator"] if command == "verify" else []
    assert "out.jsonl is no regular file" in _refused(batchkms, command, "out.jsonl", *more)


@pytest.mark.parametrize(
    "command",
    [
        ("audit",),
        ("retry",),
        ("merge", "-o", "out.jsonl"),
        ("verify", "--against", "in.jsonl", "--emulator"),
        ("encrypt", "in.jsonl", "--emulator", "--output-format", "jsonl", "-o"),
    ],
)
@pytest.mark.parametrize("name", [".", "/"])
def test_a_folder_is_no_result_file(batchkms: Program, command: tuple[str, ...], name: str) -> None:
    batchkms.write("in.jsonl", GOOD)
    assert _refused(batchkms, *command, name).startswith(f"{name} is a folder")


SIDE_FILES = ["out.jsonl.partial.sums", "out.jsonl.run.sums", "out.jsonl.run.json.tmp"]


@pytest.mark.parametrize("name", [*SIDE_FILES, "out.jsonl.tmp"])
@pytest.mark.parametrize("more", [[], ["--resume"], ["--overwrite"]])
def test_a_file_that_no_run_has_left_is_not_replaced(
    batchkms: Program, name: str, more: list[str]
) -> None:
    batchkms.write("in.jsonl", GOOD)
    precious = batchkms.write("precious", "of somebody else\n")
    os.link(precious, batchkms.folder / name)
    in_place = [] if name in SIDE_FILES else ["--in-place-column"]
    command = ("encrypt", "in.jsonl", "-o", "out.jsonl", "--emulator", *in_place, *more)
    if "--overwrite" in more:
        ended = batchkms(*command)
        assert (ended.code, ended.errors) == (0, []), ended.stderr
    else:
        assert f"{name} is there, and nothing beside it says" in _refused(batchkms, *command)
    assert precious.read_text() == "of somebody else\n"


@pytest.mark.parametrize("name", SIDE_FILES)
def test_what_a_run_that_was_killed_has_left_is_in_nobodys_way(
    batchkms: Program, name: str
) -> None:
    batchkms.write("in.jsonl", GOOD)
    batchkms.write("out.jsonl.partial", "")
    batchkms.write(name, "torn")
    ended = batchkms("encrypt", "in.jsonl", "-o", "out.jsonl", "--emulator", "--resume")
    assert (ended.code, ended.errors) == (0, []), ended.stderr
    assert not (batchkms.folder / "out.jsonl.run.json.tmp").exists()


def test_the_draft_of_a_run_that_was_killed_is_in_nobodys_way(batchkms: Program) -> None:
    batchkms.write("in.jsonl", GOOD)
    command = ("encrypt", "in.jsonl", "-o", "out.jsonl", "--emulator", "--in-place-column")
    assert batchkms(*command).code == 0
    (batchkms.folder / "out.jsonl").rename(batchkms.folder / "out.jsonl.tmp")
    ended = batchkms(*command, "--resume")
    assert (ended.code, ended.errors) == (0, []), ended.stderr
    assert not (batchkms.folder / "out.jsonl.tmp").exists()


@pytest.mark.parametrize("output", ["in.jsonl", "./in.jsonl"])
def test_the_input_is_never_the_output(batchkms: Program, output: str) -> None:
    batchkms.write("in.jsonl", GOOD)
    command = ("encrypt", "in.jsonl", "-o", output, "--emulator", "--overwrite")
    assert "is the input itself" in _refused(batchkms, *command)


def test_the_input_on_stdin_is_never_the_output(batchkms: Program) -> None:
    path = batchkms.write("in.jsonl", GOOD)
    with path.open("rb") as stdin:
        done = subprocess.run(
            batchkms.command(
                *("encrypt", "-", "--format", "jsonl", "-o", "in.jsonl", "--overwrite"),
                "--emulator",
            ),
            cwd=batchkms.folder,
            env=batchkms.environ(),
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert "is the input itself" in done.stderr
    assert path.read_text() == GOOD


def test_a_folder_that_cannot_be_written_is_refused(batchkms: Program) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    batchkms.write("in.jsonl", GOOD)
    locked = batchkms.folder / "locked"
    locked.mkdir(mode=0o500)
    told = _refused(batchkms, "encrypt", "in.jsonl", "-o", "locked/out.jsonl", "--emulator")
    assert "cannot be written: Permission denied" in told


@pytest.mark.parametrize("arguments", [(), ("--help",), ("encrypt", "--help"), ("--version",)])
def test_help_and_version_go_to_stdout(batchkms: Program, arguments: tuple[str, ...]) -> None:
    ended = batchkms(*arguments)
    shown = ended.stdout or ended.stderr
    assert "batchkms" in shown
    assert "Traceback" not in shown
    if arguments:
        assert (ended.code, ended.stderr) == (0, "")


def test_an_unknown_command_is_refused(batchkms: Program) -> None:
    ended = batchkms("encypt")
    assert ended.code == 2
    assert ended.errors == ["No such command 'encypt'."]
    assert ended.hints == ["see batchkms --help"]


@pytest.mark.parametrize(
    ("command", "told", "hint"),
    [
        (("encrypt", ".", "--emulator", "-o", "o.jsonl"), ". is a folder", "name one file in it"),
        (("run", "nosuch.toml"), "nosuch.toml cannot be read", "check its path"),
        (("check", "i.csv", "--config", "job.toml"), "'secret-key'", "credentials are never"),
        (("audit", "out.csv"), "made of its results", "batchkms audit out.csv.results.jsonl"),
    ],
)
def test_what_was_meant_is_told(
    batchkms: Program, command: tuple[str, ...], told: str, hint: str
) -> None:
    batchkms.write("job.toml", 'secret-key = "x"\n')
    batchkms.write("out.csv", "")
    batchkms.write("out.csv.results.jsonl.run.json", "{}")
    ended = batchkms(*command)
    assert ended.code == 2
    assert told in ended.errors[0] and hint in ended.hints[0]
