"""A document of another kind is refused as a whole, and told what to export."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from batchkms.errors import ConfigError, InputBroken, InputError
from batchkms.sources import open_source
from batchkms.sources.base import Fields
from batchkms.sources.profiles import PROFILES
from batchkms.sources.profiles.json import DocumentReader
from batchkms.sources.profiles.vault import VaultKv
from tests.sources.given import outcome
from tests.sources.profiles.samples import reader, sample

C = "hunter2SECRET"
JSON_PROFILES = [
    "bitwarden-json",
    "vault-kv-json",
    "aws-secretsmanager-json",
    "k8s-secret-list",
]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("other", PROFILES)
def test_the_export_of_another_tool(profile: str, other: str) -> None:
    if profile == other:
        return
    found = outcome(reader(profile), [sample(other).read_bytes()])
    assert found.rows == []
    assert isinstance(found.error, InputError)
    assert found.error.message.startswith("in")
    assert found.error.hint
    assert "fake" not in found.told


@pytest.mark.parametrize("profile", JSON_PROFILES)
@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'{"hunter2SECRET": "hunter2SECRET"}',
        b'["hunter2SECRET"]',
        b"[17]",
        b"[[[]]]",
        b'"hunter2SECRET"',
        b"17",
        b"kind: Secret\n",
        b'{"items": "hunter2SECRET", "kind": "List"}',
        b'{"items": {"a": "hunter2SECRET"}, "kind": "List"}',
        b'{"data": null, "request_id": "hunter2SECRET"}',
        b'{"hunter2SECRET"',
        b'{"hunter2SECRET": nul}',
        b'{"\xff": 1}',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"}",
        b"\0",
    ],
)
def test_json_of_no_tool(profile: str, data: bytes) -> None:
    found = outcome(reader(profile), [data])
    assert found.rows == []
    assert isinstance(found.error, InputError)
    assert found.error.hint
    assert C not in found.told


@pytest.mark.parametrize(
    ("profile", "document", "says"),
    [
        ("bitwarden-json", {"encrypted": True, "data": C}, "encrypted Bitwarden export"),
        (
            "bitwarden-json",
            {"encrypted": True, "passwordProtected": True, "items": [{"notes": C}]},
            "encrypted Bitwarden export",
        ),
        ("bitwarden-json", {"encrypted": False, "folders": []}, "has no `items`"),
        ("vault-kv-json", {"request_id": "r", "data": None, "auth": {"a": C}}, "without data"),
        ("vault-kv-json", {"k": C}, "no answer of Vault"),
        ("vault-kv-json", ["path/", C], "no answer of Vault"),
        ("aws-secretsmanager-json", {"SecretList": [{"Name": C}]}, "no answer of AWS"),
        ("aws-secretsmanager-json", {"ARN": C, "VersionIdsToStages": {}}, "no answer of AWS"),
        ("k8s-secret-list", {"kind": "ConfigMap", "data": {"k": C}}, "neither a Kubernetes"),
        (
            "k8s-secret-list",
            {"kind": "List", "items": [{"kind": "ConfigMap", "data": {"k": C}}]},
            "List without a Secret",
        ),
    ],
)
def test_what_is_wrong_is_told(profile: str, document: object, says: str) -> None:
    found = outcome(reader(profile), [json.dumps(document).encode()])
    assert isinstance(found.error, InputError)
    assert says in found.error.message
    assert C not in found.told


@pytest.mark.parametrize("profile", ["bitwarden-csv", "1password-csv", "lastpass-csv"])
@pytest.mark.parametrize(
    "header",
    [f"{C},{C}\n", f"name;{C}\n", f'"{C}', "\xff\n", "id,plaintext\n"],
)
def test_a_table_of_no_tool(profile: str, header: str) -> None:
    found = outcome(reader(profile), [header.encode("latin-1")])
    assert found.rows == []
    assert isinstance(found.error, InputError | InputBroken)
    assert C not in found.told


def test_a_table_of_another_tool_is_recognized() -> None:
    found = outcome(reader("bitwarden-csv"), [sample("lastpass-csv").read_bytes()])
    assert found.error is not None
    assert (found.error.hint or "").startswith("is it lastpass-csv? ")


def test_a_column_that_is_there_twice() -> None:
    header = b"url,username,password,password,extra,name,grouping\n"
    found = outcome(reader("lastpass-csv"), [header])
    assert isinstance(found.error, InputError)
    assert "two columns are named 'password'" in found.error.message


@pytest.mark.parametrize("data", [C, f"{C}\nA=1", f'["{C}"]', f"{C}: {C}", "x" * 2_000_000])
def test_text_that_is_no_dotenv(data: str) -> None:
    found = outcome(reader("dotenv"), [b"# a comment\n\n", data.encode()])
    assert found.rows == []
    assert isinstance(found.error, InputError)
    assert found.error.message == "in, line 3: this is not how a dotenv file begins"
    assert C not in found.told


def _reader(most: int) -> DocumentReader:
    return DocumentReader(VaultKv(), name="in", max_plaintext_bytes=10, max_document_bytes=most)


@pytest.mark.parametrize("begin", ["", " \n"])
def test_a_document_over_the_cap(begin: str) -> None:
    document = begin + json.dumps({"request_id": "r", "data": {"k": "x"}})
    size = len(document.lstrip())
    assert outcome(_reader(size), [document.encode()]).codes == [None]
    found = outcome(_reader(size - 1), [document.encode()])
    assert isinstance(found.error, InputError)
    assert f"more than {size - 1} bytes" in found.error.message


async def test_a_document_that_is_cut_off_in_its_gzip(tmp_path: Path) -> None:
    path = tmp_path / "export.json.gz"
    path.write_bytes(gzip.compress(sample("bitwarden-json").read_bytes())[:200])
    source = open_source(str(path), profile="bitwarden-json")
    with pytest.raises(InputBroken, match=r"export\.json\.gz, line 1: the input breaks off"):
        _ = [batch async for batch in source.batches()]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"profile": "bitwarden"}, "'bitwarden' is no input profile"),
        ({"profile": "dotenv", "format": "csv"}, "the format of the input"),
        ({"profile": "dotenv", "fields": Fields(key="k")}, "which fields"),
        ({"profile": "dotenv", "fields": Fields(encoding="hex")}, "which fields"),
        ({"profile": "dotenv", "fields": Fields(required=frozenset({"id"}))}, "which fields"),
        ({"profile": "dotenv", "needs_key": True}, "names a CMK"),
    ],
)
def test_options_that_a_profile_cannot_follow(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        open_source("-", **options)  # type: ignore[arg-type]  # the options above
    assert caught.value.hint
