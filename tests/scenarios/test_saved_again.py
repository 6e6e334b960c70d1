"""Result files that another program has saved again: with other line ends, or with a BOM."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Callable

import pytest

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.dying import inventory, killed
from tests.scenarios.ended import credentials, target

ROWS = 40


def _with_lf(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n")


def _with_bom(content: bytes) -> bytes:
    return BOM_UTF8 + content


def _with_both(content: bytes) -> bytes:
    return _with_bom(_with_lf(content))


def _with_quotes(content: bytes) -> bytes:
    header, rows = content.split(b"\r\n", 1)
    return b'"' + header.replace(b",", b'","') + b'"\r\n' + rows


def _with_cr(content: bytes) -> bytes:
    return content.replace(b"\n", b"\r\n")


SAVED = [
    *(("csv", how) for how in (_with_lf, _with_bom, _with_both)),
    *(("jsonl", how) for how in (_with_cr, _with_bom)),
]


@pytest.mark.parametrize(("format", "how"), [*SAVED, ("csv", _with_quotes)])
async def test_it_is_read_where_no_manifest_is_needed(
    batchkms: Program, kms: Emulator, format: str, how: Callable[[bytes], bytes]
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=ROWS))
    command = ["encrypt", "in.jsonl", "-o", f"out.{format}", *target(kms)]
    assert (await batchkms.beside(*command, environ=credentials(kms))).code == 0
    batchkms.write(f"new.{format}", how((batchkms.folder / f"out.{format}").read_bytes()))
    ended = await batchkms.beside("inspect", f"new.{format}", "--summary", "json")
    assert (ended.code, json.loads(ended.stdout)["rows"]) == (0, ROWS), ended.stderr
    ended = await batchkms.beside(
        *("verify", f"new.{format}", "--against", "in.jsonl", "--summary", "json"),
        *("--endpoint", kms.endpoint),
        environ=credentials(kms),
    )
    assert (ended.code, json.loads(ended.stdout)["verified"]) == (0, ROWS), ended.stderr


@pytest.mark.parametrize(("format", "how"), SAVED)
async def test_audit_tells_it_in_one_line_and_retry_refuses_it(
    batchkms: Program, kms: Emulator, format: str, how: Callable[[bytes], bytes]
) -> None:
    name = f"out.{format}"
    batchkms.write("in.jsonl", inventory("jsonl", rows=ROWS))
    command = ["encrypt", "in.jsonl", "-o", name, *target(kms)]
    assert (await batchkms.beside(*command, environ=credentials(kms))).code == 0
    batchkms.write(name, how((batchkms.folder / name).read_bytes()))
    ended = await batchkms.beside("audit", name)
    assert ended.code == 6
    told, verdict = ended.stderr.splitlines()
    assert "saved again by another program" in told
    assert "differs" in verdict
    ended = await batchkms.beside("retry", name, environ=credentials(kms))
    assert ended.code == 2
    assert "is not as its run left it" in ended.errors[0]


@pytest.mark.parametrize("how", [_with_lf, _with_bom])
async def test_a_partial_output_that_was_saved_again_is_refused(
    batchkms: Program, kms: Emulator, how: Callable[[bytes], bytes]
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl"))
    command = ["encrypt", "in.jsonl", "-o", "out.csv", *target(kms)]
    await killed(batchkms, kms, [*command, "--rate", "500"], stdin=None, after_bytes=20_000)
    partial = batchkms.folder / "out.csv.partial"
    partial.write_bytes(how(partial.read_bytes()))
    before = partial.read_bytes()
    ended = await batchkms.beside(*command, "--resume", environ=credentials(kms))
    assert (ended.code, partial.read_bytes()) == (2, before)
    assert "out.csv.partial, line 1: " in ended.errors[0]
