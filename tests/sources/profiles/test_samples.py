"""Each export gives exactly its secrets, however it is stored and whatever way it comes."""

from __future__ import annotations

import gzip
import os
import random
from pathlib import Path

import pytest

from batchkms.sources import open_source
from batchkms.sources.profiles import PROFILES
from tests.sources.given import Outcome, cut, outcome, record
from tests.sources.profiles.samples import FILES, SECRETS, reader, sample

every_profile = pytest.mark.parametrize("profile", PROFILES)


def _found(found: Outcome) -> list[tuple[str, bytes]]:
    assert found.error is None
    assert [row.seq for row in found.rows] == list(range(1, len(found.rows) + 1))
    records = [record(row) for row in found.rows]
    assert all(row.key_id is row.encryption_context is None for row in records)
    return [(row.id, row.plaintext) for row in records]


async def _read(path: str, profile: str) -> Outcome:
    found = Outcome()
    source = open_source(path, profile=profile)
    async for batch in source.batches():
        found.rows += batch
    await source.aclose()
    assert source.sha256
    return found


def test_every_profile_has_a_sample() -> None:
    assert set(PROFILES) == set(FILES) == set(SECRETS)


@every_profile
def test_the_ids_of_an_export_are_all_different(profile: str) -> None:
    ids = [row_id for row_id, _ in SECRETS[profile]]
    assert len(ids) == len(set(ids))


@every_profile
async def test_the_secrets_of_the_sample(profile: str) -> None:
    assert _found(await _read(str(sample(profile)), profile)) == SECRETS[profile]


@every_profile
async def test_compressed_and_with_another_suffix(profile: str, tmp_path: Path) -> None:
    path = tmp_path / "export.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + sample(profile).read_bytes()))
    assert _found(await _read(str(path), profile)) == SECRETS[profile]


@every_profile
async def test_through_stdin(profile: str) -> None:
    here, saved = os.open(sample(profile), os.O_RDONLY), os.dup(0)
    os.dup2(here, 0)
    try:
        assert _found(await _read("-", profile)) == SECRETS[profile]
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(here)


@every_profile
def test_cut_anywhere(profile: str) -> None:
    data = sample(profile).read_bytes()
    assert (
        _found(outcome(reader(profile), [data[i : i + 1] for i in range(len(data))]))
        == (SECRETS[profile])
    )
    rng = random.Random(7)  # noqa: S311  (test data, no key)
    for _ in range(100):
        pieces = cut(data, [rng.randrange(len(data)) for _ in range(3)])
        assert _found(outcome(reader(profile), pieces)) == SECRETS[profile]


@every_profile
def test_with_the_line_ends_of_windows(profile: str) -> None:
    """In a quoted cell of CSV they are content; in dotenv, as Python reads text, they are not."""
    data = sample(profile).read_bytes().replace(b"\n", b"\r\n")
    expected = SECRETS[profile]
    if profile.endswith("-csv"):
        expected = [(row_id, text.replace(b"\n", b"\r\n")) for row_id, text in expected]
    assert _found(outcome(reader(profile), [data])) == expected


@every_profile
def test_without_a_newline_at_the_end(profile: str) -> None:
    data = sample(profile).read_bytes().rstrip(b"\n")
    assert _found(outcome(reader(profile), [data])) == SECRETS[profile]


@every_profile
def test_an_empty_input_has_no_secrets(profile: str) -> None:
    assert _found(outcome(reader(profile), [])) == []
    assert _found(outcome(reader(profile), [b"\n\r\n"])) == []


@every_profile
def test_the_limit_of_a_plaintext_is_a_parameter(profile: str) -> None:
    found = outcome(reader(profile, most=9), [sample(profile).read_bytes()])
    expected = ["PlaintextTooLarge" if len(text) > 9 else None for _, text in SECRETS[profile]]
    assert found.codes == expected
    assert [row.id for row in found.rows] == [row_id for row_id, _ in SECRETS[profile]]
