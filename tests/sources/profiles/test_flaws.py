"""What is broken in an export is a failed row with its place, and its neighbours are read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from batchkms.errors import VERDICTS, InputBroken
from batchkms.records import ErrorClass, Record, Result
from tests.sources.given import outcome
from tests.sources.profiles.samples import reader

C = "hunter2SECRET"


@dataclass(frozen=True)
class Flawed:
    """An export with one broken entry: the ids of its rows, and what is told of the broken one."""

    profile: str
    data: bytes
    ids: list[str]
    code: str
    place: str
    says: str = ""


def _bitwarden(*items: object) -> bytes:
    return json.dumps({"encrypted": False, "folders": [], "items": items}).encode()


def _login(name: str, password: object, **more: object) -> dict[str, object]:
    return {"type": 1, "name": name, "login": {"password": password}, **more}


def _vault(data: object, **more: object) -> str:
    return json.dumps({"request_id": "r", "data": data, **more})


def _aws(*secrets: object, **more: object) -> bytes:
    return json.dumps({"SecretValues": secrets, **more}).encode()


def _secret(name: str, **more: object) -> dict[str, Any]:
    return {"kind": "Secret", "metadata": {"namespace": "ns", "name": name}, **more}


def _list(*items: object, **metadata: object) -> bytes:
    return json.dumps({"kind": "List", "items": items, "metadata": metadata}).encode()


GOOD = _secret("good", stringData={"k": C})
GOOD_AWS = {"ARN": "arn", "Name": "good", "SecretString": C}
BITWARDEN_HEADER = (
    b"folder,favorite,type,name,notes,fields,reprompt,login_uri,login_username,login_password,"
    b"login_totp\n"
)
LONG = C * 2_000

CASES = [
    Flawed("bitwarden-json", _bitwarden(C, _login("b", C)), ["1", "b/password"], "InvalidEntry",
           "items[0]", "this is a string, not an object"),
    Flawed("bitwarden-json", _bitwarden(_login("a", [C], notes=C)), ["a/password", "a/notes"],
           "InvalidPlaintext", "items[0].login.password", "is an array"),
    Flawed("bitwarden-json", _bitwarden({**_login("a", C), "login": C, "notes": C}),
           ["a", "a/notes"], "InvalidEntry", "items[0].login"),
    Flawed("bitwarden-json", _bitwarden(_login("a", C, fields=[{"type": 1, "value": C}, C])),
           ["a/password", "a/fields.1", "a"], "InvalidEntry", "items[0].fields[1]"),
    Flawed("bitwarden-json", _bitwarden(_login("a", C, fields=[{"type": 1, "value": 17}])),
           ["a/password", "a/fields.1"], "InvalidPlaintext", "items[0].fields[0].value"),
    Flawed("bitwarden-json", _bitwarden(_login("a", C, fields=C)), ["a/password", "a"],
           "InvalidEntry", "items[0].fields", "not an array"),
    Flawed("bitwarden-json", _bitwarden({"type": 99, "name": "a", "notes": C}), ["a", "a/notes"],
           "InvalidEntry", "items[0].type"),
    Flawed("bitwarden-json", _bitwarden(_login("a", LONG), _login("b", C)),
           ["a/password", "b/password"], "PlaintextTooLarge", "items[0].login.password",
           "26,000 bytes"),
    Flawed("bitwarden-json", _bitwarden(_login("n" * 1_024, C), _login("b", C)),
           ["1", "b/password"], "InvalidId", "items[0].login.password"),
    Flawed("bitwarden-json", b'{"folders": [], "items": [{"x": "\xff' + C.encode() + b'"}, {}]}',
           ["1"], "InvalidJson", "items[0]"),
    Flawed("bitwarden-json", b'{"folders": [], "items": [' + b"[" * 500 + b"]" * 500 + b"]}", ["1"],
           "InvalidEntry", "items[0]"),
    Flawed("bitwarden-json", _bitwarden(_login("a", C)) + b'{"' + C.encode() + b'":1}',
           ["a/password", "2"], "InvalidEntry", "document 2", "no Bitwarden export"),
    Flawed("bitwarden-json", _bitwarden(_login("a", C)) + _bitwarden(_login("a", 1)),
           ["a/password", "a#2/password"], "InvalidPlaintext",
           "document 2, items[0].login.password"),
    Flawed("vault-kv-json", f'[{_vault({"k": C})}, ["{C}"]]'.encode(), ["1/k", "2"],
           "InvalidEntry", "[1]"),
    Flawed("vault-kv-json", f'{_vault({"k": C})}\n{{{C}}}\n{_vault({"k": C})}'.encode(),
           ["1/k", "2", "3/k"], "InvalidEntry", "document 2", "no valid JSON at byte"),
    Flawed("vault-kv-json", _vault({"k": C, "j": "?"}).encode().replace(b"?", b"\xff"),
           ["1/k", "1"], "InvalidJson", "data, member 2"),
    Flawed("vault-kv-json", _vault({"k": LONG, "l": C}, path="kv/a").encode(),
           ["kv/a/k", "kv/a/l"], "PlaintextTooLarge", "data, member 1"),
    Flawed("aws-secretsmanager-json", _aws({"Name": "a", "SecretBinary": C + "!"}, GOOD_AWS),
           ["a", "good"], "InvalidPlaintext", "SecretValues[0].SecretBinary", "no base64"),
    Flawed("aws-secretsmanager-json", _aws({"Name": "a", "SecretString": {C: C}}, GOOD_AWS),
           ["a", "good"], "InvalidPlaintext", "SecretValues[0].SecretString", "is an object"),
    Flawed("aws-secretsmanager-json", _aws({"Name": "a", C: C}, GOOD_AWS), ["a", "good"],
           "MissingPlaintext", "SecretValues[0]"),
    Flawed("aws-secretsmanager-json", _aws(None, GOOD_AWS), ["1", "good"], "InvalidEntry",
           "SecretValues[0]"),
    Flawed("aws-secretsmanager-json",
           _aws(GOOD_AWS, Errors=[{"SecretId": "a", "ErrorCode": C, "Message": C}]),
           ["good", "a"], "MissingPlaintext", "Errors[0]", "AWS did not give"),
    Flawed("aws-secretsmanager-json", _aws(GOOD_AWS, NextToken=C), ["good", "2"], "InvalidEntry",
           "NextToken", "export all pages"),
    Flawed("k8s-secret-list", _list(_secret("a", data={C: C + "!"}), GOOD),
           [f"ns/a/{C}", "ns/good/k"], "InvalidPlaintext", "items[0].data, member 1"),
    Flawed("k8s-secret-list", _list(_secret("a", data={"k": "QUI"}), GOOD),
           ["ns/a/k", "ns/good/k"], "InvalidPlaintext", "items[0].data, member 1", "base64"),
    Flawed("k8s-secret-list", _list(_secret("a", data=[C]), GOOD), ["ns/a", "ns/good/k"],
           "InvalidEntry", "items[0].data"),
    Flawed("k8s-secret-list", _list(17, GOOD), ["1", "ns/good/k"], "InvalidEntry", "items[0]"),
    Flawed("k8s-secret-list", _list(GOOD, **{"continue": C}), ["ns/good/k", "2"], "InvalidEntry",
           "metadata.continue"),
    Flawed("k8s-secret-list", json.dumps(_secret("a", stringData={"k": 1})).encode(), ["ns/a/k"],
           "InvalidPlaintext", "stringData, member 1"),
    Flawed("bitwarden-csv", BITWARDEN_HEADER + f",,,a,,,,,,{C}\n,,,b,,,,,,{C},\n".encode(),
           ["1", "b/password"], "WrongCellCount", "line 2"),
    Flawed("bitwarden-csv", BITWARDEN_HEADER + f",,login,b,,,,,,{C * 400},\n".encode(),
           ["b/password"], "PlaintextTooLarge", "line 2, column 'login_password'"),
    Flawed("bitwarden-csv", BITWARDEN_HEADER + f",,login,b,,,,,,{C},".encode() + b"\xff\n",
           ["1"], "InvalidUtf8", "line 2"),
    Flawed("dotenv", f"A={C}\n{C} {C}\nB={C}".encode(), ["A", "2", "B"], "InvalidEntry", "line 2",
           "NAME=VALUE"),
    Flawed("dotenv", f"A={C}\n{C}==\nB={C}".encode(), ["A", "2", "B"], "InvalidEntry", "line 2",
           "in quotes"),
    Flawed("dotenv", f"A={C}\n{C}12=\r\nB={C}".encode(), ["A", "2", "B"], "InvalidEntry",
           "line 2", "in quotes"),
    Flawed("dotenv", f'A="{C}" {C}\nB={C}'.encode(), ["A", "B"], "InvalidEntry", "line 1",
           "closing quote"),
    Flawed("dotenv", f"A={C}\rB={C}\nC={C}".encode(), ["A", "C"], "InvalidEntry", "line 1"),
    Flawed("dotenv", f"A={C}".encode() + b"\xff\nB=x", ["A", "B"], "InvalidUtf8", "line 1"),
    Flawed("dotenv", f'A="{C}\n'.encode() + b'\xff"\nB=x', ["A", "B"], "InvalidUtf8", "line 1"),
    Flawed("dotenv", f"A=-----BEGIN X-----\n{C}==\n-----END X-----\nB={C}".encode(), ["A", "B"],
           "InvalidEntry", "line 1", "double quotes"),
    Flawed("dotenv", f"A={LONG}\nB={C}".encode(), ["A", "B"], "RowTooLong", "line 1"),
    Flawed("dotenv", f'#\nA="{LONG}"\nB={C}'.encode(), ["A", "B"], "RowTooLong", "line 2"),
    Flawed("dotenv", f'A="x\n{LONG}\n{C}"\nB={C}'.encode(), ["A", "B"], "RowTooLong", "line 1"),
    Flawed("dotenv", f"A='{(C + chr(10)) * 2_000}'\nB={C}".encode(), ["A", "B"], "RowTooLong",
           "line 1"),
    Flawed("dotenv", f"B={C}\n{LONG}\nC={C}".encode(), ["B", "2", "C"], "RowTooLong", "line 2"),
]  # fmt: skip


@pytest.mark.parametrize(
    "case", [pytest.param(c, id=f"{i}-{c.place}") for i, c in enumerate(CASES)]
)
@pytest.mark.parametrize("size", [1, 1 << 20], ids=["bytewise", "whole"])
def test_one_row_fails_and_says_where(case: Flawed, size: int) -> None:
    pieces = [case.data[i : i + size] for i in range(0, len(case.data), size)]
    found = outcome(reader(case.profile, longest=10_000), pieces)
    assert found.error is None
    assert [row.id for row in found.rows] == case.ids
    assert [row.seq for row in found.rows] == list(range(1, len(case.ids) + 1))
    (failed,) = [row for row in found.rows if isinstance(row, Result)]
    assert (failed.code, failed.error_class) == (case.code, ErrorClass.INVALID_RECORD)
    message = failed.message or ""
    assert message.startswith(f"{case.place}: ")
    assert case.says in message
    assert C not in message
    assert VERDICTS[case.code].error_class is ErrorClass.INVALID_RECORD


@pytest.mark.parametrize(
    ("profile", "data", "where"),
    [
        ("dotenv", f'A={C}\nB="{C}\nC={C}', "line 2"),
        ("dotenv", f"A={C}\nB='{C}\nC=a'b\n", "line 2"),
        ("dotenv", f"A={C}\nB=-----BEGIN X-----\n{C}\n", "line 2"),
        ("vault-kv-json", _vault({"k": C}) + C, "line 1"),
        ("vault-kv-json", "\n" + _vault({"k": C}) + '\n{}\n{"\n' + C, "line 4"),
        ("lastpass-csv", f'url,username,password,extra,name,grouping\n,,{C},,a,\n,,"{C}', "line 3"),
    ],
)
def test_where_nothing_can_be_trusted_any_more_the_reading_stops(
    profile: str, data: str, where: str
) -> None:
    found = outcome(reader(profile), [data.encode()])
    assert isinstance(found.rows[0], Record)
    assert not any(isinstance(row, Record) for row in found.rows[1:])
    assert isinstance(found.error, InputBroken)
    assert found.error.message.startswith(f"in, {where}: ")
    assert C not in found.told
    assert found.error.hint
