"""Failed rows are done again: wherever the input comes from, and whenever the retry dies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.scenarios.conftest import Program
from tests.scenarios.dying import assert_all_decrypt, inventory, results_in
from tests.scenarios.ended import Ended, credentials, target
from tests.scenarios.flaky import Flaky, flaky_service

ROWS = 60
SHIM = Path(__file__).parent.parent / "faultfs"


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
