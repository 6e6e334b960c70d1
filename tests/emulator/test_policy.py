"""Rules: what they match by themselves, and what a call is told that they do not allow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from batchkms.emulator.policy import NO_KEY, Rule, permits, rule
from tests.emulator.calling import Caller, Clock, b64
from tests.emulator.ways import emulated


def allow(*actions: str, keys: Sequence[str] = ("*",)) -> Rule:
    return rule(effect="allow", actions=actions, keys=keys)


def deny(*actions: str, keys: Sequence[str] = ("*",)) -> Rule:
    return rule(effect="deny", actions=actions, keys=keys)


@pytest.mark.parametrize(
    ("rules", "action", "key_id", "expected"),
    [
        ([], "Encrypt", "a", True),
        ([allow("Encrypt")], "Encrypt", "a", True),
        ([allow("kms:Encrypt")], "Encrypt", "a", True),
        ([allow("Encrypt")], "Decrypt", "a", False),
        ([allow("encrypt")], "Encrypt", "a", False),
        ([allow("Encrypt")], "ReEncrypt", "a", False),
        ([allow("*Encrypt")], "ReEncrypt", "a", True),
        ([allow("?eEncrypt")], "ReEncrypt", "a", True),
        ([allow("List*", "Describe*")], "DescribeKeys", "a", True),
        ([deny("Decrypt")], "Encrypt", "a", True),
        ([deny("Decrypt")], "Decrypt", "a", False),
        ([allow("*"), deny("Decrypt")], "Decrypt", "a", False),
        ([deny("Decrypt"), allow("*")], "Decrypt", "a", False),
        ([allow("*", keys=["a*"])], "Encrypt", "ab", True),
        ([allow("*", keys=["a*"])], "Encrypt", "ba", False),
        ([allow("*", keys=["a", "b"])], "Encrypt", "b", True),
        ([allow("*", keys=["a.c"])], "Encrypt", "abc", False),
        ([allow("*", keys=["[a]"])], "Encrypt", "a", False),
        ([allow("*", keys=["a*"])], "ListKeys", NO_KEY, False),
        ([allow("*")], "ListKeys", NO_KEY, True),
        ([deny("*", keys=["a*"])], "ListKeys", NO_KEY, True),
        ([deny("*")], "ListKeys", NO_KEY, False),
        ([allow("Encrypt", keys=["a"]), allow("Decrypt", keys=["b"])], "Decrypt", "a", False),
    ],
)
def test_what_rules_permit(rules: list[Rule], action: str, key_id: str, expected: bool) -> None:
    assert permits(rules, action, key_id) is expected


RULES = """
[[credentials]]
secret_id = "writer"
secret_key = "writer's key"
[[credentials.rules]]
effect = "allow"
actions = ["Encrypt", "DescribeKey"]
keys = ["KEY"]

[[credentials]]
secret_id = "careful"
secret_key = "careful's key"
[[credentials.rules]]
effect = "deny"
actions = ["Decrypt"]
keys = ["KEY"]
"""


async def tried(caller: Caller, who: str, action: str, **parameters: Any) -> str:
    return await caller.code(action, parameters, secret_id=who, secret_key=f"{who}'s key")


async def test_rules_by_action_and_key(tmp_path: Path, clock: Clock) -> None:
    async with emulated(tmp_path, clock) as caller:
        key_id = caller.emulator.demo_key_id
        other = (await caller.call("CreateKey", {"Alias": "other"}))["KeyId"]
        blob = await caller.encrypt(b"secret")
        other_blob = await caller.encrypt(b"secret", KeyId=other)
    path = tmp_path / "credentials.toml"
    path.write_text(RULES.replace("KEY", key_id), encoding="utf-8")
    no = "UnauthorizedOperation"
    async with emulated(tmp_path, clock, credentials=path) as caller:
        secret = b64(b"secret")
        assert await tried(caller, "writer", "Encrypt", KeyId=key_id, Plaintext=secret) == "ok"
        assert await tried(caller, "writer", "Encrypt", KeyId=other, Plaintext=secret) == no
        assert await tried(caller, "writer", "DescribeKey", KeyId=key_id) == "ok"
        assert await tried(caller, "writer", "Decrypt", CiphertextBlob=blob) == no
        assert await tried(caller, "writer", "ListKeys") == no
        assert await tried(caller, "careful", "Decrypt", CiphertextBlob=blob) == no
        assert await tried(caller, "careful", "Decrypt", CiphertextBlob=other_blob) == "ok"
        assert await tried(caller, "careful", "ListKeys") == "ok"
        assert await caller.code("Decrypt", {"CiphertextBlob": blob}) == "ok"


async def test_the_text_names_action_resource_and_request(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "credentials.toml"
    path.write_text(RULES, encoding="utf-8")
    async with emulated(tmp_path, clock, credentials=path) as caller:
        key_id = caller.emulator.demo_key_id
        signing: dict[str, Any] = {"secret_id": "writer", "secret_key": "writer's key"}
        for language in ("en-US", "zh-CN"):
            headers: dict[str, str | None] = {"X-TC-Language": language}
            parameters = {"KeyId": key_id, "Plaintext": b64(b"secret")}
            refused = await caller.call("Encrypt", parameters, headers=headers, **signing)
            where = "qcs:id/0:kms:ap-guangzhou:uin/100000000001"
            assert refused["Error"] == {
                "Code": "UnauthorizedOperation",
                "Message": f"[request id:{refused['RequestId']}]you are not authorized to perform "
                f"operation (kms:Encrypt)\nresource ({where}:key/creatorUin/100000000001/{key_id}) "
                "has no permission\n",
            }
        refused = await caller.call("ListKeys", **signing)
        assert "(kms:ListKeys)\nresource (*) has" in refused["Error"]["Message"]


async def test_a_call_that_is_not_allowed_changes_nothing(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "credentials.toml"
    path.write_text(RULES, encoding="utf-8")
    async with emulated(tmp_path, clock, credentials=path) as caller:
        assert await tried(caller, "writer", "CreateKey", Alias="new") == "UnauthorizedOperation"
        assert (await caller.call("ListKeys"))["TotalCount"] == 1
