"""One share is verified against the rows that are its own."""

from __future__ import annotations

import json

import pytest

from batchkms.emulator import Emulator
from tests.scenarios.conftest import Program
from tests.scenarios.dying import inventory
from tests.scenarios.ended import credentials, target
from tests.scenarios.sharing import all_shares


async def test_one_share_is_verified_against_its_rows_of_the_inventory(
    batchkms: Program, kms: Emulator
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=20))
    await all_shares(batchkms, kms, "encrypt", "in.jsonl", *target(kms))
    verify = ["verify", "out.2.jsonl", "--against", "in.jsonl", "--summary", "json"]
    verify += [*target(kms)[:2], "--rate", "90"]
    # The manifest says which one it is; --shard divides the rate, too.
    for more, rate in [([], 90), (["--shard", "2/3"], 30)]:
        ended = await batchkms.beside(*verify, *more, environ=credentials(kms))
        told = json.loads(ended.stdout)
        assert (ended.code, told["rows"], told["verified"]) == (0, 7, 7), ended.stderr
        assert (told["shard"], told["cost"]["calls_per_second"]) == ("2/3", rate)
        assert ended.stderr.startswith("batchkms: verify out.2.jsonl (share 2/3): 7 rows")
        dry = await batchkms.beside(*verify, *more, "--dry-run", environ=credentials(kms))
        told = json.loads(dry.stdout)
        assert (told["to_decrypt"], told["shard"]) == (7, "2/3")
    ended = await batchkms.beside(*verify, "--shard", "1/3", environ=credentials(kms))
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.errors == ["out.2.jsonl is of the share 2/3, and --shard is 1/3"]


@pytest.mark.parametrize("damaged", [False, True])
async def test_a_share_is_verified_without_its_manifest(
    batchkms: Program, kms: Emulator, damaged: bool
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=20))
    await all_shares(batchkms, kms, "encrypt", "in.jsonl", *target(kms))
    manifest = batchkms.folder / "out.2.jsonl.run.json"
    if damaged:
        manifest.write_text("{")
    else:
        manifest.unlink()
    verify = ["verify", "out.2.jsonl", "--against", "in.jsonl", *target(kms)[:2]]
    for more, code, missing in [
        ([], 6, 13),
        (["--shard", "2/3"], 0, 0),
        (["--shard", "1/3"], 6, 7),
    ]:
        ended = await batchkms.beside(*verify, *more, environ=credentials(kms))
        assert ended.code == code, ended.stderr
        assert ended.stderr.count("has no row in the output") == missing
        assert ("--shard I/N compares with that share alone" in ended.stderr) == bool(missing)


async def test_a_share_of_a_result_file_is_verified_where_its_rows_are_known(
    batchkms: Program, kms: Emulator
) -> None:
    batchkms.write("in.jsonl", inventory("jsonl", rows=20))
    encrypt = ["encrypt", "in.jsonl", "-o", "sealed.jsonl", "--ordered", *target(kms)]
    assert (await batchkms.beside(*encrypt, environ=credentials(kms))).code == 0
    await all_shares(batchkms, kms, "reencrypt", "sealed.jsonl", *target(kms))
    verify = ["verify", "out.2.jsonl", "--against", "in.jsonl", *target(kms)[:2]]
    ended = await batchkms.beside(*verify, environ=credentials(kms))
    assert ended.code == 2
    assert ended.errors == [
        "out.2.jsonl is of the share 2/3 of a result file, and nothing says which rows of the "
        "inventory those are"
    ]
    assert "say --shard 2/3" in ended.hints[0]
    ended = await batchkms.beside(*verify, "--shard", "2/3", environ=credentials(kms))
    assert ended.code == 0, ended.stderr
    assert "compared with the rows of the share 2/3 of in.jsonl" in ended.stderr
