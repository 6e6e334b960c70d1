"""Failed rows are done again: wherever the input comes from, and whenever the retry dies."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.scenarios.conftest import Program
from tests.scenarios.dying import assert_all_decrypt, inventory, results_in
from tests.scenarios.ended import Ended, credentials, target
from tests.scenarios.flaky import Flaky, flaky_service

ROWS = 60
SHIM = Path(__file__).parent.parent / "faultfs"
KILLED = -signal.SIGKILL


@pytest.fixture
async def flaky(tmp_path: Path) -> AsyncIterator[Flaky]:
    """The service; its keys are outside of the program's folder."""
    async with flaky_service(tmp_path / "kms") as service:
        yield service


async def _half_done(
    batchkms: Program, flaky: Flaky, source: list[str], *, stdin: bytes = b""
) -> None:
    command = ["encrypt", *source, "-o", "out.jsonl", "--max-attempts", "1", *target(flaky.kms)]
    ended = await batchkms.beside(*command, stdin=stdin, environ=credentials(flaky.kms))
    assert ended.code == 4, ended.stderr
    flaky.failing = False


async def _assert_done(batchkms: Program, flaky: Flaky, ended: Ended) -> None:
    assert (ended.code, ended.errors) == (0, []), ended.stderr
    assert flaky.calls == ROWS + ROWS // 2
    await assert_all_decrypt(flaky.kms, results_in(batchkms.folder / "out.jsonl"), ROWS)
    audited = batchkms("audit", "out.jsonl")
    assert audited.code == 0, audited.stderr


@pytest.mark.parametrize("now", ["file", "pipe", "redirected"])
async def test_a_run_from_stdin_is_retried_with_its_input_named_again(
    batchkms: Program, flaky: Flaky, now: str
) -> None:
    content = inventory("jsonl", rows=ROWS)
    await _half_done(batchkms, flaky, ["-", "--format", "jsonl"], stdin=content)
    environ = credentials(flaky.kms)
    ended = await batchkms.beside("retry", "out.jsonl", environ=environ)
    assert (ended.code, ended.hints) == (2, ["name it again: --input FILE, or -"])
    assert ended.errors == ["the input of this run came through stdin"]
    source = batchkms.write("again.jsonl", content)
    if now == "file":
        ended = await batchkms.beside("retry", "out.jsonl", "--input", str(source), environ=environ)
    elif now == "pipe":
        ended = await batchkms.beside(
            "retry", "out.jsonl", "--input", "-", stdin=content, environ=environ
        )
    else:
        ended = await batchkms.beside(
            *("retry", "out.jsonl", "--input", "-"), stdin=source, environ=environ
        )
    await _assert_done(batchkms, flaky, ended)


@pytest.mark.parametrize("through", ["file", "pipe"])
async def test_a_run_from_stdin_is_not_retried_with_another_input(
    batchkms: Program, flaky: Flaky, through: str
) -> None:
    content = inventory("jsonl", rows=ROWS)
    await _half_done(batchkms, flaky, ["-", "--format", "jsonl"], stdin=content)
    before = {path.name: path.read_bytes() for path in batchkms.folder.glob("out.*")}
    other = content.replace(b"secret 60", b"secret 61")
    given = str(batchkms.write("other.jsonl", other)) if through == "file" else "-"
    ended = await batchkms.beside(
        *("retry", "out.jsonl", "--input", given), stdin=other, environ=credentials(flaky.kms)
    )
    assert ended.code == 2
    assert "another input" in ended.errors[0]
    assert flaky.calls == ROWS
    assert {path.name: path.read_bytes() for path in batchkms.folder.glob("out.*")} == before


async def test_rows_that_name_their_own_key_are_retried_with_it(
    batchkms: Program, flaky: Flaky
) -> None:
    rows = [json.loads(line) for line in inventory("jsonl", rows=ROWS).splitlines()]
    key = flaky.kms.demo_key_id
    for row in rows:
        row["cmk"] = key
    batchkms.write("in.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    command = ["encrypt", "in.jsonl", "-o", "out.jsonl", "--key-field", "cmk"]
    options = ["--max-attempts", "1", "--endpoint", flaky.kms.endpoint]
    ended = await batchkms.beside(*command, *options, environ=credentials(flaky.kms))
    assert ended.code == 4, ended.stderr
    flaky.failing = False
    ended = await batchkms.beside("retry", "out.jsonl", environ=credentials(flaky.kms))
    await _assert_done(batchkms, flaky, ended)
    assert {row["key_id"] for row in results_in(batchkms.folder / "out.jsonl")} == {key}


async def _killed_at(batchkms: Program, flaky: Flaky, calls: str, number: int) -> bool:
    """Whether a retry was killed before this call to the file system; else it has ended."""
    shim = f"{SHIM}:{batchkms.environ().get('PYTHONPATH', '')}"
    fault = {"PYTHONPATH": shim, "FAULTFS": f"{calls}:{number}:KILL"}
    fault["FAULTFS_FIRED"] = str(batchkms.folder / "fired")
    command = ["retry", "out.jsonl", "--resume", "--max-attempts", "1"]
    ended = await batchkms.beside(*command, environ=credentials(flaky.kms) | fault)
    assert ended.code == KILLED or "Traceback" not in ended.stderr
    return ended.code == KILLED


def _left(batchkms: Program) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in batchkms.folder.glob("out.*")}


def _put_back(batchkms: Program, left: dict[str, bytes]) -> None:
    for path in batchkms.folder.glob("out.*"):
        path.unlink()
    for name, content in left.items():
        batchkms.write(name, content)


async def _assert_completed(batchkms: Program, flaky: Flaky) -> None:
    """Every row is in the output that was left, and one more retry does what is to be done."""
    rows = results_in(batchkms.folder / "out.jsonl")
    assert sorted(row["seq"] for row in rows) == list(range(1, ROWS + 1))
    ended = await batchkms.beside("retry", "out.jsonl", "--resume", environ=credentials(flaky.kms))
    assert (ended.code, ended.errors) == (0, []), ended.stderr
    await assert_all_decrypt(flaky.kms, results_in(batchkms.folder / "out.jsonl"), ROWS)
    audited = batchkms("audit", "out.jsonl")
    assert audited.code == 0, audited.stderr
    names = {"out.jsonl", "out.jsonl.run.json", "out.jsonl.run.sums"}
    assert _left(batchkms).keys() == names


async def test_a_retry_is_completed_wherever_it_was_killed(batchkms: Program, flaky: Flaky) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=ROWS))
    await _half_done(batchkms, flaky, ["in.jsonl"])
    before = _left(batchkms)
    number = 1
    while await _killed_at(batchkms, flaky, "replace+fsync+write", number):
        await _assert_completed(batchkms, flaky)
        _put_back(batchkms, before)
        number += 1
    await _assert_completed(batchkms, flaky)
    # The manifest three times, the rows, and two names.
    assert number > 10


async def test_a_retry_of_a_killed_retry_may_be_killed_as_well(
    batchkms: Program, flaky: Flaky
) -> None:
    """The first one dies with its output published and not noted, while rows still fail."""
    batchkms.write("in.jsonl", inventory("jsonl", rows=ROWS))
    await _half_done(batchkms, flaky, ["in.jsonl"])
    flaky.failing = True
    before, number = _left(batchkms), 1
    while await _killed_at(batchkms, flaky, "replace", number):
        after = _left(batchkms)
        _put_back(batchkms, before)
        number += 1
    assert after["out.jsonl"] != before["out.jsonl"]
    assert b"retrying" in after["out.jsonl.run.json"]
    _put_back(batchkms, after)
    number = 1
    while await _killed_at(batchkms, flaky, "replace", number):
        flaky.failing = False
        # Rows that failed again before the kill have their result: they are for the next retry.
        command = ("retry", "out.jsonl", "--resume")
        ended = await batchkms.beside(*command, environ=credentials(flaky.kms))
        assert ended.code in (0, 4), ended.stderr
        await _assert_completed(batchkms, flaky)
        flaky.failing = True
        _put_back(batchkms, after)
        number += 1
    assert number > 3


async def test_a_retry_of_a_class_goes_on_with_that_class(batchkms: Program, flaky: Flaky) -> None:
    """It died before its first row, and --resume does not name the class again."""
    batchkms.write("in.jsonl", inventory("jsonl", rows=ROWS))
    await _half_done(batchkms, flaky, ["in.jsonl"])
    path = batchkms.folder / "out.jsonl.run.json"
    finished = json.loads(path.read_bytes())
    noted = {"at": finished["ended_at"], "classes": ["network"], "kept_rows": ROWS}
    died = finished | {"state": "running", "retried": [noted]}
    died["retrying"] = {"sha256": finished["output"]["sha256"]}
    path.write_text(json.dumps(died))
    ended = await batchkms.beside("retry", "out.jsonl", "--resume", environ=credentials(flaky.kms))
    assert (ended.code, "nothing to do" in ended.stderr) == (4, True), ended.stderr
    assert flaky.calls == ROWS
    # Nothing is left of it that would be in the way of another one.
    assert json.loads(path.read_bytes()) == finished | {"retried": [noted]}
    ended = await batchkms.beside("retry", "out.jsonl", environ=credentials(flaky.kms))
    await _assert_done(batchkms, flaky, ended)


async def test_a_run_from_stdin_with_nothing_to_retry_needs_no_input(
    batchkms: Program, flaky: Flaky
) -> None:
    flaky.failing = False
    content = inventory("jsonl", rows=3) + b'{"id":"empty","plaintext":""}\n'
    command = ["encrypt", "-", "--format", "jsonl", "-o", "out.jsonl", *target(flaky.kms)]
    ended = await batchkms.beside(*command, stdin=content, environ=credentials(flaky.kms))
    assert ended.code == 1, ended.stderr
    ended = await batchkms.beside("retry", "out.jsonl", environ=credentials(flaky.kms))
    assert (ended.code, ended.errors) == (1, []), ended.stderr
    assert "nothing to do: out.jsonl was finished at" in ended.stderr
    assert "1 of its rows failed" in ended.stderr
