"""Further credentials: how their file is read, and who gets in with them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from batchkms.emulator.credentials import Credential, Credentials, looks_live, read_credentials
from batchkms.errors import ConfigError
from tests.emulator.calling import NOW_S, Clock
from tests.emulator.ways import call_v1, code_of, emulated, v1_pairs

LIVE_LOOKING = "AKID" + "x1" * 16
TEMPORARY = f"""
[[credentials]]
secret_id = "visitor"
secret_key = "visitor's key"
token = "visitor's token"
expires = {datetime.fromtimestamp(NOW_S + 60, UTC).isoformat()}
"""
UNKNOWN = (
    "AuthFailure.SecretIdNotFound",
    "The SecretId is not found, please ensure that your SecretId is correct.",
)
BAD_TOKEN = ("AuthFailure.TokenFailure", "Token error.")


def written(folder: Path, text: str, name: str = "credentials.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_in_toml_and_one_in_json_say_the_same(tmp_path: Path) -> None:
    toml = """
[[credentials]]
secret_id = "billing"
secret_key = "k"
[[credentials.rules]]
effect = "allow"
actions = ["Encrypt", "kms:List*"]
keys = ["9386*"]
[[credentials]]
secret_id = "visitor"
secret_key = "k2"
token = "t"
expires = 2030-01-01T00:00:00Z
"""
    as_json = {
        "credentials": [
            {
                "secret_id": "billing",
                "secret_key": "k",
                "rules": [
                    {"effect": "allow", "actions": ["Encrypt", "kms:List*"], "keys": ["9386*"]}
                ],
            },
            {"secret_id": "visitor", "secret_key": "k2", "token": "t", "expires": 1893456000},
        ]
    }
    read = read_credentials(written(tmp_path, toml))
    assert read == read_credentials(written(tmp_path, json.dumps(as_json), "c.json"))
    assert [(each.secret_id, each.secret_key, each.token) for each in read] == [
        ("billing", "k", None),
        ("visitor", "k2", "t"),
    ]
    assert read[1].expires_s == 1893456000
    assert len(read[0].rules) == 1


BROKEN = [
    ("", "missing required field `credentials`"),
    ("credentials = []", "length >= 1"),
    ("[[credentials]]\nsecret_id = 'a'", "missing required field `secret_key`"),
    ("[[credentials]]\nsecret_id = 'a'\nsecret_key = ''", "length >= 1"),
    ("[[credentials]]\nsecret_id = 'a/b'\nsecret_key = 'canary'", "matching regex"),
    ("[[credentials]]\nsecret_id = ''\nsecret_key = 'canary'", "matching regex"),
    ("[[credentials]]\nsecret_id = 'a'\nsecret_key = 'canary'\ncolour = 1", "`colour`"),
    ("[[credentials]]\nsecret_id = 'a'\nsecret_key = 'canary'\nexpires = 5", "has no token"),
    (
        "[[credentials]]\nsecret_id='a'\nsecret_key='k'\ntoken='canary'\n"
        "expires = 2030-01-01T00:00:00",
        "timezone",
    ),
    (
        "[[credentials]]\nsecret_id='a'\nsecret_key='canary'\n"
        "[[credentials.rules]]\neffect='maybe'\nactions=['*']",
        "credentials[0].rules[0].effect",
    ),
    (
        "[[credentials]]\nsecret_id='a'\nsecret_key='canary'\n"
        "[[credentials.rules]]\neffect='deny'\nactions=[]",
        "credentials[0].rules[0].actions",
    ),
    ("secret_key = 'canary", "end of document"),
    (
        f"[[credentials]]\nsecret_id = '{LIVE_LOOKING}'\nsecret_key = 'canary'",
        "looks like one of a real account",
    ),
]


@pytest.mark.parametrize(("text", "says"), BROKEN)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_credentials(path)
    assert says in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint
    for secret in ("canary", LIVE_LOOKING):
        assert secret not in str(caught.value) + str(caught.value.hint)


def test_an_unknown_name_is_told_with_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path, "[[credentials]]\nsecret_id = 'a'\nsecret_key='k'\nexpire = 1")
    with pytest.raises(ConfigError, match="`expire`") as caught:
        read_credentials(path)
    assert caught.value.hint == "the nearest name is 'expires'"


def test_a_file_that_is_not_there_or_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_credentials(tmp_path / "absent.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_credentials(tmp_path / "bytes.toml")
    with pytest.raises(ConfigError, match="c.json"):
        read_credentials(written(tmp_path, "{", "c.json"))


def test_two_with_the_same_id() -> None:
    twice = Credential(secret_id="a", secret_key="k")
    with pytest.raises(ConfigError, match="same secret_id"):
        Credentials([twice, twice])


@pytest.mark.parametrize(
    ("secret_id", "expected"),
    [
        (LIVE_LOOKING, True),
        (LIVE_LOOKING + "_-more", True),
        (LIVE_LOOKING[:-1], False),
        ("AKIDEXAMPLE", False),
        ("akid" + "x" * 32, False),
        ("EMULATOR" + "x" * 28, False),
    ],
)
def test_what_looks_live(secret_id: str, expected: bool) -> None:
    assert looks_live(secret_id) is expected


def test_no_secret_is_in_a_repr() -> None:
    shown = repr(Credential(secret_id="a", secret_key="canary", token="canary"))
    assert "canary" not in shown


async def test_a_live_looking_id_is_refused_in_plain_words(tmp_path: Path, clock: Clock) -> None:
    async with emulated(tmp_path, clock) as caller:
        code, message = await caller.error("ListKeys", secret_id=LIVE_LOOKING)
        pairs = v1_pairs(caller, "ListKeys", SecretId=LIVE_LOOKING)
        assert (await call_v1(caller, pairs))["Error"] == {"Code": code, "Message": message}
    assert code == "AuthFailure.SecretIdNotFound"
    assert "looks like one of a real account" in message
    assert LIVE_LOOKING not in message


async def test_live_looking_ids_are_taken_from_a_file_if_told(tmp_path: Path, clock: Clock) -> None:
    path = written(tmp_path, f"[[credentials]]\nsecret_id='{LIVE_LOOKING}'\nsecret_key='k'")
    options = {"credentials": path, "allow_any_credentials": True}
    async with emulated(tmp_path, clock, **options) as caller:
        assert await caller.code("ListKeys", secret_id=LIVE_LOOKING, secret_key="k") == "ok"
        assert await caller.error("ListKeys", secret_id=LIVE_LOOKING + "y") == UNKNOWN


async def test_temporary_credentials_need_their_token(tmp_path: Path, clock: Clock) -> None:
    async with emulated(tmp_path, clock, credentials=written(tmp_path, TEMPORARY)) as caller:
        signing = {"secret_id": "visitor", "secret_key": "visitor's key"}
        good = {"X-TC-Token": "visitor's token"}
        assert await caller.code("ListKeys", headers=dict(good), **signing) == "ok"
        assert await caller.error("ListKeys", **signing) == BAD_TOKEN
        for token in ("", "another", "visitor's token2"):
            wrong: dict[str, str | None] = {"X-TC-Token": token}
            assert await caller.error("ListKeys", headers=wrong, **signing) == BAD_TOKEN
        clock.now_s += 59.9
        assert await caller.code("ListKeys", headers=dict(good), **signing) == "ok"
        clock.now_s += 0.1
        assert await caller.error("ListKeys", headers=dict(good), **signing) == BAD_TOKEN
        assert await caller.code("ListKeys") == "ok"


async def test_temporary_credentials_with_signature_v1(tmp_path: Path, clock: Clock) -> None:
    async with emulated(tmp_path, clock, credentials=written(tmp_path, TEMPORARY)) as caller:
        for token, code in (
            ({"Token": "visitor's token"}, "ok"),
            ({}, "AuthFailure.TokenFailure"),
            ({"Token": "another"}, "AuthFailure.TokenFailure"),
        ):
            pairs = v1_pairs(caller, "ListKeys", SecretId="visitor", **token)
            response = await call_v1(caller, pairs, secret_key="visitor's key")
            assert code_of(response) == code


async def test_a_token_does_not_make_up_for_a_wrong_key(tmp_path: Path, clock: Clock) -> None:
    async with emulated(tmp_path, clock, credentials=written(tmp_path, TEMPORARY)) as caller:
        code = await caller.code(
            "ListKeys", secret_id="visitor", headers={"X-TC-Token": "visitor's token"}
        )
    assert code == "AuthFailure.SignatureFailure"


def test_the_examples_in_the_docstring_can_be_read(tmp_path: Path) -> None:
    from batchkms.emulator import credentials

    _, _, example = (credentials.__doc__ or "").partition("\n\n    ")
    read = read_credentials(written(tmp_path, example))
    assert [(each.secret_id, len(each.rules)) for each in read] == [("billing", 1)]


@pytest.mark.parametrize("action", ["Decypt", "kms:decrypt", "decrypt*", "kms:"])
def test_a_rule_for_an_action_that_does_not_exist_is_refused(tmp_path: Path, action: str) -> None:
    path = tmp_path / "credentials.toml"
    path.write_text(
        '[[credentials]]\nsecret_id = "EXAMPLE"\nsecret_key = "example"\n'
        f'[[credentials.rules]]\neffect = "deny"\nactions = ["{action}"]\n'
    )
    with pytest.raises(ConfigError, match="no action is called so") as caught:
        read_credentials(path)
    assert "Decrypt" in (caught.value.hint or "") or action == "kms:"


@pytest.mark.parametrize("name", ["deep.toml", "deep.json"])
def test_a_file_that_is_nested_too_deeply_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(("a = " if name.endswith("toml") else "") + "[" * 100_000)
    with pytest.raises(ConfigError, match=name):
        read_credentials(path)
