"""A run that ended because its input was damaged goes on with the input that was mended."""

from __future__ import annotations

import gzip

import pytest

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.dying import assert_all_decrypt, inventory, results_in
from tests.scenarios.ended import credentials, target

ROWS = 600


def _unclosed(whole: bytes) -> bytes:
    return whole.replace(b'secret 400"', b"secret 400", 1)


def _cut_off(whole: bytes) -> bytes:
    return whole[: len(whole) * 2 // 3]


@pytest.mark.parametrize(("format", "damage"), [("csv", _unclosed), ("csv.gz", _cut_off)])
@pytest.mark.parametrize("again", [False, True])
async def test_it_is_resumed_and_no_row_is_sent_again(
    batchkms: Program, kms: Emulator, format: str, damage: object, again: bool
) -> None:
    whole, name = inventory(format, rows=ROWS), f"in.{format}"
    damaged = damage(whole)  # type: ignore[operator]  # one of the above
    command = ["encrypt", name, "-o", "out.csv", *target(kms)]
    batchkms.write(name, damaged)
    ended = await batchkms.beside(*command, environ=credentials(kms))
    assert ended.code == 3, ended.stderr
    if again:
        ended = await batchkms.beside(*command, "--resume", environ=credentials(kms))
        assert ended.code == 3, ended.stderr
    # A row before the damage is another one: that is no mending.
    plain = gzip.decompress(whole) if format.endswith("gz") else whole
    other = plain.replace(b"secret 7", b"Secret 7", 1)
    batchkms.write(name, gzip.compress(other) if format.endswith("gz") else other)
    ended = await batchkms.beside(*command, "--resume", environ=credentials(kms))
    assert (ended.code, "this is another input" in ended.errors[0]) == (2, True), ended.stderr
    batchkms.write(name, whole)
    ended = await batchkms.beside(*command, "--resume", environ=credentials(kms))
    assert (ended.code, ended.errors) == (0, []), ended.stderr
    await assert_all_decrypt(kms, results_in(batchkms.folder / "out.csv"), ROWS)
    assert kms.stats.as_json()["actions"]["Encrypt"]["calls"] <= ROWS + ROWS // 37 + 1
    ended = await batchkms.beside("audit", "out.csv")
    assert ended.code == 0, ended.stderr
