"""A job file with steps: which option reaches which step, and what is refused before any runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchkms.errors import ConfigError
from batchkms.jobsteps import Step, read_step_again, read_steps

COMMANDS = ("encrypt", "reencrypt", "decrypt", "retry", "audit", "inspect")

TWO = """
[[step]]
command = "encrypt"
input = "in.csv"
output = "enc.csv"

[[step]]
command = "decrypt"
input = "enc.csv"
output = "dec.csv"
"""

EMULATED = "emulator = true\n" + TWO


def steps(
    folder: Path, text: str, environ: dict[str, str] | None = None, **flags: Any
) -> list[Step]:
    path = folder / "job.toml"
    path.write_text(text)
    return read_steps(str(path), flags=flags, environ=environ or {}, commands=COMMANDS)


def refused(
    folder: Path, text: str, environ: dict[str, str] | None = None, **flags: Any
) -> tuple[str, str]:
    """The message, without the file's name, and the hint of a file that is refused."""
    with pytest.raises(ConfigError) as caught:
        steps(folder, text, environ, **flags)
    assert caught.value.hint, "what to write instead"
    return str(caught.value).replace(str(folder / "job.toml"), "JOB"), caught.value.hint


def test_each_step_takes_the_options_that_it_has(tmp_path: Path) -> None:
    encrypt, decrypt = steps(tmp_path, 'emulator = true\nkey-id = "k"\nencoding = "hex"\n' + TWO)
    assert (encrypt.spec.key_id, encrypt.spec.encoding) == ("k", "hex")
    assert (decrypt.spec.key_id, decrypt.spec.encoding) == (None, "utf8")
    assert encrypt.spec.emulator and decrypt.spec.emulator
    assert (decrypt.number, decrypt.title) == (2, "decrypt enc.csv → dec.csv")


def test_flags_beat_environment_beats_step_beats_shared_beats_default(tmp_path: Path) -> None:
    text = "emulator = true\nrate = 1\nconcurrency = 1\ntimeout = '1s'\n" + TWO.replace(
        'output = "enc.csv"', 'output = "enc.csv"\nrate = 2\nconcurrency = 2\ntimeout = "2s"'
    )
    environ = {"BATCHKMS_RATE": "3", "BATCHKMS_CONCURRENCY": "3"}
    first, second = (step.spec for step in steps(tmp_path, text, environ, rate="4"))
    assert (first.rate, first.concurrency, first.timeout, first.queue_size) == (4, 3, 2.0, 1000)
    assert (second.rate, second.concurrency, second.timeout) == (4, 3, 1.0)


def test_every_step_has_the_default_of_its_own_command(tmp_path: Path) -> None:
    text = EMULATED.replace('"decrypt"', '"reencrypt"')
    assert [step.spec.rate for step in steps(tmp_path, text)] == [300, 100]


def test_a_shared_input_gives_way_to_that_of_a_step(tmp_path: Path) -> None:
    text = 'emulator = true\ninput = "all.csv"\n' + TWO.replace('input = "in.csv"\n', "")
    assert [step.spec.input for step in steps(tmp_path, text)] == ["all.csv", "enc.csv"]


def test_steps_about_an_output(tmp_path: Path) -> None:
    text = """
    [[step]]
    command = "retry"
    output = "o.csv"
    class = ["throttled"]
    allow_failures = true
    [[step]]
    command = "audit"
    output = "o.csv"
    no-input = true
    """
    retry, audit = steps(tmp_path, text)
    assert (retry.spec.classes, retry.allow_failures, retry.title) == (
        ("throttled",),
        True,
        "retry o.csv",
    )
    assert "classes" in retry.spec.given
    assert (audit.spec.no_input, audit.spec.input, audit.title) == (True, "", "audit o.csv")


@pytest.mark.parametrize(
    ("text", "told", "hint"),
    [
        ("", "JOB has no step", "[[step]]"),
        ("rate = 5\n", "JOB has no step", "--config"),
        ("step = 5\n", "JOB has no list of steps", "[[step]]"),
        ('[step]\ncommand = "encrypt"\n', "JOB has no list of steps", "[[step]]"),
        ("[[step]]\n", "JOB: step 1 names no command", "known are encrypt, "),
        ('[[step]]\ncommand = "run"\n', "JOB: step 1: there is no command 'run'", "encrypt, "),
        ("[[step]]\ncommand = 5\n", "JOB: step 1: there is no command 5", "encrypt, "),
        ("ratee = 5\n" + TWO, "JOB: there is no option 'ratee'", "'rate'"),
        ("sample = 5\n" + TWO, "JOB: there is no option 'sample'", "nearest name is "),
        (EMULATED + "key-id = 'k'\n", "JOB: step 2: there is no option 'key-id'", "nearest name"),
        (
            EMULATED + "allow-failure = true\n",
            "JOB: step 2: there is no option",
            "'allow-failures'",
        ),
        (
            EMULATED + "allow-failures = 1\n",
            "JOB: step 2: allow-failures is true or false",
            "quotes",
        ),
        (EMULATED + "rate = 'fast'\n", "JOB: step 2: rate takes a whole number", "--help"),
        (TWO, "JOB: step 1 (encrypt): no CMK was given", "--key-id"),
        ('region = "r"\nkey-id = "k"\nrate = "x"\n' + TWO, "JOB: rate takes", "--help"),
        ('[[step]]\ncommand = "audit"\n', "JOB: step 1 (audit): no output was given", "output"),
    ],
)
def test_what_is_refused_names_file_step_and_key(
    tmp_path: Path, text: str, told: str, hint: str
) -> None:
    message, tried = refused(tmp_path, text)
    assert message.startswith(told)
    assert hint in tried


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('"dec.csv"', '"enc.csv"'), "steps 1 and 2 both write enc.csv"),
        (('"dec.csv"', '"./in.csv"'), "steps 1 and 2 read and write ./in.csv"),
        (('input = "enc.csv"\noutput = "dec.csv"', 'input = "a"\noutput = "./enc.csv"'), "both w"),
    ],
)
def test_steps_must_not_be_in_each_others_way(
    tmp_path: Path, change: tuple[str, str], told: str
) -> None:
    message, _ = refused(tmp_path, EMULATED.replace(*change))
    assert told in message


def test_two_steps_cannot_share_stdin_or_stdout(tmp_path: Path) -> None:
    piped = TWO.replace('"in.csv"', '"-"').replace('"enc.csv"\noutput', '"-"\noutput')
    message, _ = refused(tmp_path, "emulator = true\nformat = 'csv'\n" + piped)
    assert "steps 1 and 2 both read stdin" in message
    shown = 'emulator = true\nallow-stdout = true\n[[step]]\ncommand = "inspect"\ninput = "a.csv"\n'
    shown += 'summary = "json"\n' + TWO.replace('"dec.csv"', '"-"')
    message, _ = refused(tmp_path, shown)
    assert "would mix a summary with results on stdout" in message


@pytest.mark.parametrize("name", ["INPUT", "OUTPUT", "CONFIG"])
def test_what_would_be_the_same_for_every_step_is_not_taken_from_the_environment(
    tmp_path: Path, name: str
) -> None:
    message, _ = refused(tmp_path, EMULATED, {f"BATCHKMS_{name}": "x"})
    assert f"BATCHKMS_{name} is set" in message


def test_a_flag_that_no_step_takes_is_refused(tmp_path: Path) -> None:
    text = '[[step]]\ncommand = "inspect"\ninput = "a.csv"\n'
    assert "--key-id: no step of JOB takes it" in refused(tmp_path, text, key_id="k")[0]


def test_a_step_is_read_again_only_as_the_same_step(tmp_path: Path) -> None:
    text = EMULATED
    first, second = steps(tmp_path, text)
    changed = steps(tmp_path, "rate = 7\n" + text)
    assert read_step_again(lambda: changed, second).rate == 7
    other = steps(tmp_path, text.replace("enc.csv", "other.csv"))
    with pytest.raises(ConfigError, match="any more"):
        read_step_again(lambda: other, second)
    with pytest.raises(ConfigError, match="any more"):
        read_step_again(lambda: changed[:1], second)
    assert read_step_again(lambda: changed, first).rate == 7
