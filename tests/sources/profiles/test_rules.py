"""What counts as a secret in the places where the formats leave it open, and what it is called."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from batchkms.records import Record, Result
from batchkms.sources.profiles import PROFILES
from batchkms.sources.profiles.entries import Entry, EntryRows, Names, Secret
from tests.sources.given import outcome, record
from tests.sources.profiles.samples import reader


def _found(profile: str, data: str | bytes) -> list[tuple[str, bytes]]:
    found = outcome(reader(profile), [data if isinstance(data, bytes) else data.encode()])
    assert found.error is None
    return [(row.id, row.plaintext) for row in map(record, found.rows)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=b", b"b"),
        ("A = b ", b"b"),
        ("A=b c", b"b c"),
        ("A=b#c", b"b#c"),
        ("A=b #c", b"b"),
        ("A=b # c # d", b"b"),
        ("A=#b", b"#b"),
        ("A= #b", b"#b"),
        ("A=b==", b"b=="),
        ("A=b'c'", b"b'c'"),
        ("A=b\\nc", b"b\\nc"),
        ('A="b"', b"b"),
        ('A="b"#c', b"b"),
        ('A=" b "  # c', b" b "),
        ('A="b # c"', b"b # c"),
        ('A="b\\"c"', b'b"c'),
        ('A="b\\\\"', b"b\\"),
        ('A="b\\nc\\rd\\te"', b"b\nc\rd\te"),
        ('A="b\\qc"', b"b\\qc"),
        ('A="b\nc"', b"b\nc"),
        ('A="b\\\nc"', b"b\\\nc"),
        ('A="\n"', b"\n"),
        ('A="b\r\nc"', b"b\nc"),
        ("A='b\"c'", b'b"c'),
        ("A='b\\'c\\\\d\\ne'", b"b'c\\d\\ne"),
        ("A='b\nc'", b"b\nc"),
        ("A=${B}", b"${B}"),
        ("export A=b", b"b"),
        ("  export  A=b", b"b"),
        ("A=密", "密".encode()),
        ("A=-----BEGIN X----- b -----END X-----", b"-----BEGIN X----- b -----END X-----"),
    ],
)
def test_a_value_of_dotenv(text: str, value: bytes) -> None:
    assert _found("dotenv", text) == [("A", value)]
    assert _found("dotenv", text + "\r\nB=c") == [("A", value), ("B", b"c")]


@pytest.mark.parametrize("text", ["A=", "A=  ", 'A=""', "A=''", "A=\t# c\nB=", "#A=b", "\n\n"])
def test_what_is_no_value_of_dotenv(text: str) -> None:
    assert _found("dotenv", text) in ([], [("A", b"# c")])


def test_names_of_dotenv() -> None:
    assert _found("dotenv", "_a=1\nA.b-c=2\nexport=3\na=4") == [
        ("_a", b"1"),
        ("A.b-c", b"2"),
        ("export", b"3"),
        ("a", b"4"),
    ]


def _answer(data: object, **more: object) -> str:
    return json.dumps({"request_id": "r", "data": data, **more})


def test_answers_of_vault_in_an_array_or_on_lines() -> None:
    first, second = _answer({"k": "1"}, path="/kv/a/"), _answer({"k": "2"})
    expected = [("kv/a/k", b"1"), ("2/k", b"2")]
    for data in (f"[{first},{second}]", f"{first}\n{second}\n", first + second):
        assert _found("vault-kv-json", data) == expected


def test_version_2_of_vault_is_told_by_its_metadata() -> None:
    metadata = {"created_time": "t", "version": 1}
    assert _found("vault-kv-json", _answer({"data": {"k": "v"}, "metadata": metadata})) == [
        ("1/k", b"v")
    ]
    assert _found("vault-kv-json", _answer({"data": None, "metadata": metadata})) == []
    assert _found("vault-kv-json", _answer({"data": {"k": "v"}, "metadata": {}})) == [
        ("1/data", b'{"k":"v"}'),
        ("1/metadata", b"{}"),
    ]


@pytest.mark.parametrize(
    ("written", "plaintext"),
    [
        ("1e400", b"1e400"),
        ("-0", b"-0"),
        ("1.0", b"1.0"),
        ("false", b"false"),
        ("[ ]", b"[]"),
        ('{ "a" : "b  c" }', b'{"a":"b  c"}'),
        ('"\\u00e9\\n"', "é\n".encode()),
    ],
)
def test_a_value_of_vault(written: str, plaintext: bytes) -> None:
    data = '{"request_id": "r", "data": {"k": ' + written + "}}"
    assert _found("vault-kv-json", data) == [("1/k", plaintext)]


def test_the_page_of_aws_that_ends_the_export_decides() -> None:
    pages = [
        {"SecretValues": [{"Name": "a", "SecretString": "1"}], "NextToken": "t"},
        {"SecretValues": [{"ARN": "arn:b", "SecretString": "2"}]},
    ]
    expected = [("a", b"1"), ("arn:b", b"2")]
    assert _found("aws-secretsmanager-json", "\n".join(map(json.dumps, pages))) == expected
    assert _found("aws-secretsmanager-json", json.dumps(pages)) == expected


def test_secrets_of_kubernetes_alone_and_in_a_secret_list() -> None:
    secret = {"metadata": {"name": "a", "namespace": "ns"}, "data": {"k": "QQ=="}}
    alone = json.dumps({"kind": "Secret", **secret})
    assert _found("k8s-secret-list", alone) == [("ns/a/k", b"A")]
    listed = json.dumps({"kind": "SecretList", "items": [secret, {**secret, "metadata": {}}]})
    assert _found("k8s-secret-list", listed) == [("ns/a/k", b"A"), ("secret-2/k", b"A")]
    page = json.dumps({"kind": "List", "items": [secret], "metadata": {"continue": "t"}})
    assert _found("k8s-secret-list", page + alone) == [("ns/a/k", b"A"), ("ns/a#2/k", b"A")]
    both = json.dumps({"kind": "Secret", **secret, "stringData": {"k": "B"}})
    assert _found("k8s-secret-list", both) == [("ns/a/k", b"A"), ("ns/a/k#2", b"B")]


def test_an_item_of_an_organization_has_its_collection_for_a_folder() -> None:
    export = {
        "encrypted": False,
        "collections": [{"id": "c-2", "organizationId": "o", "name": "Team"}],
        "items": [
            {"type": 2, "name": "a", "notes": "1", "collectionIds": ["c-1", "c-2"]},
            {"type": 2, "name": None, "notes": "2", "collectionIds": [["c-2"], 3]},
        ],
    }
    assert _found("bitwarden-json", json.dumps(export)) == [
        ("Team/a/notes", b"1"),
        ("item-2/notes", b"2"),
    ]
    names = "collections,type,name,notes,fields,reprompt,login_uri,login_username,login_password"
    table = names + ",login_totp\nTeam,login,a,,,0,,u,p,\n"
    assert _found("bitwarden-csv", table) == [("Team/a/password", b"p")]


def test_a_column_that_is_not_known_is_read_rather_than_lost() -> None:
    table = "Title,Url,Username,Password,New/Column,\na,u,n,p,x,y\n"
    assert _found("1password-csv", table) == [
        ("a/password", b"p"),
        ("a/New%2FColumn", b"x"),
        ("a/column-6", b"y"),
    ]


def test_names_are_told_apart_whatever_they_are() -> None:
    names = Names()
    given = [names.apart(name) for name in ["a", "a", "a#2", "a", "a#2", "", "", "a#3"]]
    assert given == ["a", "a#2", "a#2#2", "a#3", "a#2#3", "", "#2", "a#3#2"]


def test_many_of_one_name_take_time_in_proportion() -> None:
    names = Names()
    began = time.process_time()
    given = {names.apart("a") for _ in range(100_000)}
    assert time.process_time() - began < 3
    assert len(given) == 100_000


def test_nothing_of_a_secret_is_in_a_repr() -> None:
    secret = Secret("here", "label", "hunter2SECRET")
    entry = Entry("name", [secret])
    assert "hunter2" not in f"{secret!r} {entry!r}"
    rows = list(EntryRows(max_plaintext_bytes=3).rows(entry, seq=6))
    assert [(row.seq, row.id) for row in rows] == [(7, "name/label")]
    assert not any(isinstance(row, Record) for row in rows)
    assert "hunter2" not in repr(rows)


@pytest.mark.parametrize(
    ("profile", "begin", "end"),
    [
        ("dotenv", b'A="', b'"\n'),
        ("dotenv", b"A=", b"\n"),
        ("dotenv", b"A='\n", b"'"),
        ("vault-kv-json", b'{"request_id":"r","data":{"k":"', b'"}}'),
    ],
)
@pytest.mark.parametrize("piece", [b"z", b" ", b'\\"', b"\n#", b"# ", b"[{"])
def test_a_long_value_takes_time_in_proportion(
    profile: str, begin: bytes, end: bytes, piece: bytes
) -> None:
    """2 MB in pieces of 1,000 bytes: joined anew for each piece, they would be 2 GB to copy."""
    pieces = [piece * (1_000 // len(piece))] * 2_000
    began = time.process_time()
    outcome(reader(profile, longest=1 << 25), [begin, *pieces, end])
    assert time.process_time() - began < 5


def test_many_rows_come_in_batches() -> None:
    data = "\n".join(f"A{i}=x" for i in range(1_000)).encode()
    made = reader("dotenv")
    sizes = [len(batch) for batch in [*made.feed(data), *made.end()]]
    assert sizes == [256, 256, 256, 231, 1]


def test_a_profile_is_loaded_when_it_is_used() -> None:
    program = (
        "import sys, batchkms.sources\n"
        "prefix = 'batchkms.sources.profiles.'\n"
        "print([name for name in sys.modules if name.startswith(prefix)])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"
    assert len(PROFILES) == 8


def test_a_flaw_does_not_hide_behind_a_result() -> None:
    found = outcome(reader("dotenv"), [b"A=1\nnonsense\n"])
    assert [type(row) for row in found.rows] == [Record, Result]
