"""What each action takes and what it refuses, with code and text."""

from __future__ import annotations

from typing import Any

import pytest

from batchkms.emulator import KeyState
from tests.emulator.calling import Caller, b64

NO_SUCH_KEY = "00000000-0000-1000-8000-000000000000"


def encrypting(caller: Caller, **parameters: Any) -> dict[str, Any]:
    return {"KeyId": caller.emulator.demo_key_id, "Plaintext": b64(b"secret"), **parameters}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"a"', b"null", b"\xef\xbb\xbf{}", b"{'a':1}"])
async def test_a_body_that_is_no_json_object(caller: Caller, body: bytes) -> None:
    assert await caller.error("ListKeys", body=body) == (
        "InvalidParameter",
        "The request content not valid json format for specified content-type=application/json.",
    )


async def test_an_unknown_parameter_is_an_error(caller: Caller) -> None:
    parameters = encrypting(caller, Colour="red")
    assert await caller.error("Encrypt", parameters) == (
        "UnknownParameter",
        "The parameter `Colour` is not recognized.",
    )


@pytest.mark.parametrize(
    ("action", "name"),
    [
        ("Encrypt", "KeyId"),
        ("Decrypt", "CiphertextBlob"),
        ("CreateKey", "Alias"),
        ("DescribeKey", "KeyId"),
    ],
)
async def test_a_missing_parameter_is_named(caller: Caller, action: str, name: str) -> None:
    assert await caller.error(action) == (
        "MissingParameter",
        f"The request is missing a required parameter `{name}`.",
    )


@pytest.mark.parametrize(
    ("action", "name", "value"),
    [
        ("Encrypt", "KeyId", 1),
        ("Encrypt", "Plaintext", ["YQ=="]),
        ("Encrypt", "EncryptionContext", {"a": "b"}),
        ("Encrypt", "EncryptionContext", None),
        ("Decrypt", "CiphertextBlob", True),
        ("ListKeys", "Limit", "10"),
        ("ListKeys", "Limit", True),
        ("ListKeys", "Offset", 1.0),
        ("DescribeKey", "MemberAccount", "me"),
    ],
)
async def test_a_wrong_type_is_named(caller: Caller, action: str, name: str, value: object) -> None:
    assert await caller.error(action, {name: value}) == (
        "InvalidParameter",
        f"The value type of parameter `{name}` is not valid.",
    )


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        (
            {"X-TC-Action": "GuessKey"},
            ("InvalidAction", "The request `Action` is invalid or not found."),
        ),
        (
            {"X-TC-Version": "2018-01-01"},
            ("NoSuchVersion", "The request `Version` is invalid or not found."),
        ),
        (
            {"X-TC-Region": "ap-tokyo"},
            ("UnsupportedRegion", "The request `Region` is not served by this emulator."),
        ),
        (
            {"X-TC-Region": "atlantis"},
            (
                "InvalidParameterValue",
                "A value specified in `X-TC-Region` is not valid, is unsupported, "
                "or cannot be used.",
            ),
        ),
    ],
)
async def test_an_unknown_action_version_or_region(
    caller: Caller, headers: dict[str, str | None], error: tuple[str, str]
) -> None:
    assert await caller.error("ListKeys", headers=headers) == error


@pytest.mark.parametrize(
    "plaintext",
    ["", "YQ", "YR==", "YQ==\n", " YQ==", "-_8=", "ä", b64(bytes(4097)), "A" * 100_000],
    ids=lambda text: f"{len(text)} characters",
)
async def test_a_plaintext_that_is_refused(caller: Caller, plaintext: str) -> None:
    assert await caller.error("Encrypt", encrypting(caller, Plaintext=plaintext)) == (
        "InvalidParameterValue.InvalidPlaintext",
        "Invalid plaintext.",
    )


@pytest.mark.parametrize("plaintext", [b"\0", bytes(4095), bytes(4096)])
async def test_a_plaintext_of_1_to_4096_bytes_comes_back(caller: Caller, plaintext: bytes) -> None:
    blob = await caller.encrypt(plaintext)
    answer = await caller.call("Decrypt", {"CiphertextBlob": blob})
    assert answer["Plaintext"] == b64(plaintext)


def context_of(chars: int) -> str:
    return '{"k":"' + "值" * (chars - 8) + '"}'


async def test_a_context_may_have_1024_characters_and_no_more(caller: Caller) -> None:
    longest = encrypting(caller, EncryptionContext=context_of(1024))
    assert await caller.code("Encrypt", longest) == "ok"
    too_long = encrypting(caller, EncryptionContext=context_of(1025))
    assert await caller.error("Encrypt", too_long) == (
        "InvalidParameter",
        "Parameter `EncryptionContext` format invalid.",
    )


@pytest.mark.parametrize("context", ["no json", "[]", '"a"', "null", '{"a":1}', '{"a":null}', "{"])
@pytest.mark.parametrize("action", ["Encrypt", "Decrypt"])
async def test_a_context_is_a_json_object_of_strings(
    caller: Caller, action: str, context: str
) -> None:
    parameters = encrypting(caller) if action == "Encrypt" else {"CiphertextBlob": "-k--k-"}
    assert await caller.error(action, {**parameters, "EncryptionContext": context}) == (
        "InvalidParameter",
        "Parameter `EncryptionContext` invalid json format.",
    )


async def test_an_empty_context_is_none(caller: Caller) -> None:
    blob = await caller.encrypt(b"secret", EncryptionContext="")
    assert await caller.code("Decrypt", {"CiphertextBlob": blob}) == "ok"


@pytest.mark.parametrize("action", ["Encrypt", "DescribeKey"])
@pytest.mark.parametrize(
    ("key_id", "code"),
    [
        (NO_SUCH_KEY, "ResourceUnavailable.CmkNotFound"),
        ("", "InvalidParameterValue.InvalidKeyId"),
        ("my-key", "InvalidParameterValue.InvalidKeyId"),
        (NO_SUCH_KEY + "\n", "InvalidParameterValue.InvalidKeyId"),
    ],
)
async def test_a_key_that_is_not_there(caller: Caller, action: str, key_id: str, code: str) -> None:
    parameters = {"KeyId": key_id} if action == "DescribeKey" else encrypting(caller, KeyId=key_id)
    assert await caller.code(action, parameters) == code


@pytest.mark.parametrize(
    ("state", "encrypt", "decrypt"),
    [
        (KeyState.ENABLED, "ok", "ok"),
        (
            KeyState.DISABLED,
            "ResourceUnavailable.CmkDisabled",
            "ResourceUnavailable.CmkDisabled",
        ),
        (KeyState.ARCHIVED, "ResourceUnavailable.CmkArchived", "ok"),
        (
            KeyState.PENDING_DELETE,
            "ResourceUnavailable.CmkDisabled",
            "ResourceUnavailable.CmkDisabled",
        ),
    ],
)
async def test_what_a_key_does_in_each_state(
    caller: Caller, state: KeyState, encrypt: str, decrypt: str
) -> None:
    key_id = caller.emulator.demo_key_id
    blob = await caller.encrypt(b"secret")
    await caller.emulator.set_key_state(key_id, state)
    assert await caller.code("Encrypt", encrypting(caller)) == encrypt
    assert await caller.code("Decrypt", {"CiphertextBlob": blob}) == decrypt
    described = await caller.call("DescribeKey", {"KeyId": key_id})
    assert described["KeyMetadata"]["KeyState"] == state
    listed = state in (KeyState.ENABLED, KeyState.DISABLED)
    assert (await caller.call("ListKeys"))["TotalCount"] == listed


async def test_a_public_key_for_the_answer_is_not_silently_ignored(caller: Caller) -> None:
    blob = await caller.encrypt(b"secret")
    parameters = {"CiphertextBlob": blob, "EncryptionPublicKey": "-----BEGIN PUBLIC KEY-----"}
    assert await caller.code("Decrypt", parameters) == "UnsupportedOperation"


@pytest.mark.parametrize("alias", ["", "-a", "_a", "a b", "kms-mine", "a" * 61, "é", "a\n"])
async def test_an_alias_that_cannot_be(caller: Caller, alias: str) -> None:
    code = await caller.code("CreateKey", {"Alias": alias})
    assert code == "InvalidParameterValue.InvalidAlias"


async def test_an_alias_is_taken_once(caller: Caller) -> None:
    assert await caller.code("CreateKey", {"Alias": "a" * 60}) == "ok"
    code = await caller.code("CreateKey", {"Alias": "a" * 60})
    assert code == "InvalidParameterValue.AliasAlreadyExists"


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"Description": "é" * 512}, "ok"),
        ({"Description": "é" * 512 + "a"}, "InvalidParameter"),
        ({"KeyUsage": "ENCRYPT_DECRYPT", "Type": 1, "HsmClusterId": "", "Tags": []}, "ok"),
        ({"KeyUsage": "COOKING"}, "InvalidParameterValue.InvalidKeyUsage"),
        ({"KeyUsage": "ASYMMETRIC_DECRYPT_RSA_2048"}, "ok"),
        (
            {"KeyUsage": "ASYMMETRIC_DECRYPT_SM2"},
            "UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion",
        ),
        ({"Type": 2}, "ok"),
        (
            {"Type": 2, "KeyUsage": "ASYMMETRIC_DECRYPT_RSA_2048"},
            "InvalidParameterValue.InvalidType",
        ),
        ({"Type": 3}, "InvalidParameterValue.InvalidType"),
        ({"Tags": [{"TagKey": "a", "TagValue": "b"}]}, "ok"),
        (
            {"Tags": [{"TagKey": "a", "TagValue": "b"}, {"TagKey": "a", "TagValue": "c"}]},
            "InvalidParameterValue.TagKeysDuplicated",
        ),
        ({"HsmClusterId": "hsm-1"}, "InvalidParameterValue.InvalidHsmClusterId"),
    ],
)
async def test_what_create_key_takes(caller: Caller, parameters: dict[str, Any], code: str) -> None:
    assert await caller.code("CreateKey", {"Alias": "orders", **parameters}) == code


@pytest.mark.parametrize(
    "parameters", [{"Limit": 0}, {"Limit": 201}, {"Limit": -1}, {"Offset": -1}, {"Role": 2}]
)
async def test_a_page_that_cannot_be(caller: Caller, parameters: dict[str, Any]) -> None:
    assert await caller.code("ListKeys", parameters) == "InvalidParameter"


async def test_pages_follow_one_another(caller: Caller) -> None:
    ids = [caller.emulator.demo_key_id]
    for number in range(11):
        made = await caller.call("CreateKey", {"Alias": f"key-{number}"})
        ids.append(made["KeyId"])
    pages = [await caller.call("ListKeys", {"Offset": at}) for at in (0, 10)]
    assert [key["KeyId"] for page in pages for key in page["Keys"]] == ids
    assert [page["TotalCount"] for page in pages] == [12, 12]
    assert (await caller.call("ListKeys", {"Role": 1}))["Keys"] == []


async def test_another_account_is_none_of_ours(caller: Caller) -> None:
    parameters = {"KeyId": caller.emulator.demo_key_id, "MemberAccount": {"MemberUin": 1}}
    code = await caller.code("DescribeKey", parameters)
    assert code == "UnsupportedOperation.NotRoleOperation"
