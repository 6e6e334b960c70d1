"""The README says what the program does: its options, its commands, its example."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from batchkms.cli.main import _COMMANDS
from batchkms.cli.run import FLAGS
from batchkms.emulator import Emulator
from batchkms.options import COMMON, OF_COMMAND, Option
from batchkms.records import BASE_COLUMNS, ErrorClass, Record

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _block(marker: str) -> str:
    """The code block after a marker."""
    found = re.search(rf"<!-- {marker} -->\n```\w*\n(.*?)```", README, re.DOTALL)
    assert found, marker
    return found[1]


def _row(option: Option) -> str:
    names = [option.short, f"--{option.name}"]
    shown = ", ".join(f"`{name}`" for name in names if name)
    metavar = "" if option.switch else f" {option.metavar}".replace("|", r"\|")
    default = option.shown_default
    if default is None:
        default = "" if option.default is None or option.switch else str(option.default)
    return f"| {shown}{metavar} | {option.help} | {default} |"


@pytest.mark.parametrize("option", COMMON, ids=lambda option: option.name)
def test_every_option_is_told_as_it_is(option: Option) -> None:
    assert _row(option) in README.splitlines()


def test_no_option_is_told_that_does_not_exist() -> None:
    section = README.partition("<!-- options -->")[2].partition("\nBeyond ")[0]
    told = re.findall(r"^\| (?:`-\w`, )?`--([\w-]+)`", section, re.MULTILINE)
    assert told == [option.name for option in COMMON]


COMMANDS = [name for name in OF_COMMAND if name in _COMMANDS]


def _own(command: str) -> list[Option]:
    """The options of a command that not all have, or that mean something else to it."""
    common = {(option.name, option.help) for option in COMMON}
    return [o for o in OF_COMMAND[command] if (o.name, o.help) not in common]


@pytest.mark.parametrize("command", [name for name in COMMANDS if _own(name)])
def test_the_options_of_each_command_are_told_as_they_are(command: str) -> None:
    after = README.partition(f"<!-- options of {command} -->\n")[2]
    table = after.partition("\n\n")[0].splitlines()
    assert table[2:] == [_row(option) for option in _own(command)]


@pytest.mark.parametrize("command", [*COMMANDS, "run"])
def test_help_names_every_option(command: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "batchkms", command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout
    options = FLAGS if command == "run" else OF_COMMAND[command]
    # What the command is about is an argument of it there.
    argument = "output" if command in ("retry", "audit") else ""
    for option in options:
        assert f"--{option.name}" in shown or option.name == argument


@pytest.mark.parametrize("command", _COMMANDS)
def test_every_command_is_told(command: str) -> None:
    assert re.search(rf"`batchkms {command}[ `]", README)


def test_columns_and_classes_are_told() -> None:
    columns = re.findall(r"`(\w+)`", README.partition("| column |")[2].partition("\n\n")[0])
    assert [name for name in BASE_COLUMNS if name not in columns] == []
    for error_class in ErrorClass:
        assert f"| `{error_class}` |" in README


async def test_the_library_example_runs_as_it_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = _block("library")
    definitions = code.partition("records = [")[0]
    names: dict[str, object] = {}
    async with Emulator(data_dir=tmp_path) as emulator:
        patched = definitions.replace(
            'KmsClient(region="ap-guangzhou")',
            "KmsClient(region=region, endpoint=endpoint, credentials=credentials)",
        )
        assert patched != definitions
        from batchkms import Credentials, StaticCredentials

        names.update(
            region=emulator.region,
            endpoint=emulator.endpoint,
            credentials=StaticCredentials(Credentials(emulator.secret_id, emulator.secret_key)),
        )
        exec(patched, names)  # noqa: S102 - the example itself is under test
        main = names["main"]
        assert callable(main)
        records = [Record(seq=1, id="db/password", plaintext=b"example")]
        await main(records, key_id=emulator.demo_key_id)
    assert re.fullmatch(r"db/password ok \S+-k-\S+-k-\S+\n", capsys.readouterr().out)
