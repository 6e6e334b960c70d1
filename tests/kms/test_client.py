"""The client: what is on the wire, what is made of every answer, and what is never told."""

from __future__ import annotations

import hashlib
import os
import traceback
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms import __version__
from batchkms.errors import ConfigError, ProtocolError, Scope, ServiceError
from batchkms.kms.answers import DataKey, Decrypted, Encrypted, echoes
from batchkms.kms.client import KmsClient
from batchkms.kms.credentials import Credentials, StaticCredentials
from batchkms.kms.transport import Answer
from tests.kms.servers import answering, http
from tests.kms.test_signing import official_authorization

T = TypeVar("T")

KEY_ID = "23e80852-1e38-11e9-b129-5cb9019b4b01"
BLOB = "g2F8eQk44Q==-k-fKVP3WIlGpg8m9LMW4jEkQ==-k-o1O+7H9HFAzWbCkf"
NOW = 1551113065.9


class Replay:
    """A transport that gives one answer and keeps what was sent."""

    def __init__(self, body: Any, *, status: int = 200) -> None:
        self._answer = Answer(status, body if isinstance(body, bytes) else orjson.dumps(body))
        self.sent: list[tuple[Mapping[str, str], bytes]] = []
        self.closed = False

    async def post(
        self, headers: Mapping[str, str], body: bytes, accept: Callable[[Answer], T]
    ) -> T:
        self.sent.append((headers, body))
        return accept(self._answer)

    async def aclose(self) -> None:
        self.closed = True


def client_on(transport: Replay, *, token: str | None = None) -> KmsClient:
    return KmsClient(
        region="ap-guangzhou",
        credentials=StaticCredentials(Credentials("AKIDEXAMPLE", "the-secret-key", token)),
        transport=transport,
        wall_clock=lambda: NOW,
    )


def response(**fields: Any) -> dict[str, Any]:
    return {"Response": {"RequestId": "r-1", **fields}}


def encrypted(**changes: Any) -> dict[str, Any]:
    return response(**{"CiphertextBlob": BLOB, "KeyId": KEY_ID, **changes})


# -- On the wire -----------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "the-token"])
async def test_encrypt_on_the_wire(token: str | None) -> None:
    async with (
        answering(http(orjson.dumps(encrypted()))) as (port, seen),
        KmsClient(
            region="ap-guangzhou",
            endpoint=f"http://127.0.0.1:{port}",
            credentials=StaticCredentials(Credentials("AKIDEXAMPLE", "the-secret-key", token)),
            wall_clock=lambda: NOW,
        ) as kms,
    ):
        answer = await kms.encrypt(KEY_ID, b"test plain text", encryption_context='{"a":"b"}')
    assert answer == Encrypted(BLOB, KEY_ID, "r-1")
    body = (
        b'{"KeyId":"' + KEY_ID.encode() + b'","Plaintext":"dGVzdCBwbGFpbiB0ZXh0",'
        b'"EncryptionContext":"{\\"a\\":\\"b\\"}"}'
    )
    assert seen.bodies == [body]
    head = dict(line.split(": ", 1) for line in seen.heads[0][1:])
    authorization = official_authorization(
        secret_id="AKIDEXAMPLE",
        secret_key="the-secret-key",
        timestamp_s=1551113065,
        host=f"127.0.0.1:{port}",
        body=body,
    )
    expected = {
        "Host": f"127.0.0.1:{port}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "User-Agent": f"batchkms/{__version__}",
        "X-TC-Action": "Encrypt",
        "X-TC-Version": "2019-01-18",
        "X-TC-Region": "ap-guangzhou",
        "X-TC-Timestamp": "1551113065",
        "X-TC-Language": "en-US",
        "Authorization": authorization,
    }
    assert head == (expected if token is None else expected | {"X-TC-Token": token})
    assert seen.heads[0][0] == "POST / HTTP/1.1"


@given(plaintext=st.binary(max_size=4096))
async def test_any_plaintext_goes_as_base64_and_no_context_goes_not_at_all(
    plaintext: bytes,
) -> None:
    transport = Replay(encrypted())
    await client_on(transport).encrypt(KEY_ID, plaintext)
    body = orjson.loads(transport.sent[0][1])
    assert body == {"KeyId": KEY_ID, "Plaintext": b64encode(plaintext).decode()}


async def test_a_context_is_sent_as_the_very_string_that_was_given() -> None:
    transport = Replay(encrypted())
    context = '{ "b" : "ü\\u00e9", "a":"1" }'
    await client_on(transport).encrypt(KEY_ID, b"x", encryption_context=context)
    assert orjson.loads(transport.sent[0][1])["EncryptionContext"] == context


@pytest.mark.parametrize(
    ("answer", "plaintext"), [("", b""), ("cGxhaW4=", b"plain"), ("//79", b"\xff\xfe\xfd")]
)
async def test_decrypt(answer: str, plaintext: bytes) -> None:
    transport = Replay(response(Plaintext=answer, KeyId=KEY_ID))
    got = await client_on(transport).decrypt(BLOB, encryption_context="{}")
    assert got == Decrypted(plaintext, KEY_ID, "r-1")
    headers, body = transport.sent[0]
    assert headers["X-TC-Action"] == "Decrypt"
    assert orjson.loads(body) == {"CiphertextBlob": BLOB, "EncryptionContext": "{}"}


@pytest.mark.parametrize("context", [None, '{"a":"b"}'])
async def test_a_data_key_with_and_without_a_context(context: str | None) -> None:
    answer = response(Plaintext=b64encode(bytes(32)).decode(), CiphertextBlob=BLOB, KeyId=KEY_ID)
    transport = Replay(answer)
    made = await client_on(transport).generate_data_key(KEY_ID, encryption_context=context)
    assert made == DataKey(bytes(32), BLOB, KEY_ID, "r-1")
    given = {"KeyId": KEY_ID, "KeySpec": "AES_256"}
    bound = {} if context is None else {"EncryptionContext": context}
    assert orjson.loads(transport.sent[0][1]) == given | bound


@pytest.mark.parametrize("size", [0, 16, 31, 33])
async def test_a_data_key_of_another_size_is_none(size: int) -> None:
    answer = response(Plaintext=b64encode(bytes(size)).decode(), CiphertextBlob=BLOB, KeyId=KEY_ID)
    with pytest.raises(ProtocolError) as caught:
        await client_on(Replay(answer)).generate_data_key(KEY_ID)
    assert caught.value.code == "InvalidAnswer"


async def test_describe_key_and_service_status() -> None:
    transport = Replay(response(KeyMetadata={"KeyState": "Enabled"}))
    assert await client_on(transport).describe_key(KEY_ID) == {"KeyState": "Enabled"}
    assert orjson.loads(transport.sent[0][1]) == {"KeyId": KEY_ID}
    transport = Replay(response(QpsLimit=300))
    assert (await client_on(transport).get_service_status())["QpsLimit"] == 300
    assert transport.sent[0][1] == b"{}"
    with pytest.raises(ProtocolError, match="no KeyMetadata"):
        await client_on(transport).describe_key(KEY_ID)


async def test_describe_keys() -> None:
    transport = Replay(response(KeyMetadatas=[{"KeyId": "a"}, {"KeyId": "b"}]))
    keys = await client_on(transport).describe_keys(("a", "b"))
    assert keys == [{"KeyId": "a"}, {"KeyId": "b"}]
    headers, body = transport.sent[0]
    assert headers["X-TC-Action"] == "DescribeKeys"
    assert orjson.loads(body) == {"KeyIds": ["a", "b"]}


@pytest.mark.parametrize("fields", [{}, {"KeyMetadatas": None}, {"KeyMetadatas": [None]}])
async def test_an_answer_to_describe_keys_that_is_none(fields: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="no KeyMetadatas") as caught:
        await client_on(Replay(response(**fields))).describe_keys(["a"])
    assert (caught.value.code, caught.value.request_id) == ("InvalidAnswer", "r-1")


async def test_leaving_the_client_closes_its_transport() -> None:
    transport = Replay(encrypted())
    async with client_on(transport):
        assert not transport.closed
    assert transport.closed


def test_a_plain_http_endpoint_elsewhere_is_refused() -> None:
    with pytest.raises(ConfigError, match="plain HTTP"):
        KmsClient(
            region="r",
            endpoint="http://kms.example",
            credentials=StaticCredentials(Credentials("i", "k")),
        )


# -- Answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"KeyId": KEY_ID, "CiphertextBlob": None}, "MissingCiphertext"),
        ({"KeyId": KEY_ID, "CiphertextBlob": ""}, "MissingCiphertext"),
        ({"KeyId": KEY_ID, "CiphertextBlob": 5}, "MissingCiphertext"),
        ({"KeyId": KEY_ID, "CiphertextBlob": "two\nlines"}, "MissingCiphertext"),
        ({"KeyId": KEY_ID, "CiphertextBlob": BLOB + "\n"}, "MissingCiphertext"),
        ({"KeyId": KEY_ID}, "MissingCiphertext"),
        ({"CiphertextBlob": BLOB}, "WrongKeyId"),
        ({"CiphertextBlob": BLOB, "KeyId": None}, "WrongKeyId"),
        ({"CiphertextBlob": BLOB, "KeyId": [KEY_ID]}, "WrongKeyId"),
        ({"CiphertextBlob": BLOB, "KeyId": KEY_ID[:-1] + "2"}, "WrongKeyId"),
    ],
)
async def test_an_answer_to_encrypt_that_must_not_be_kept(
    fields: dict[str, Any], code: str
) -> None:
    with pytest.raises(ProtocolError) as caught:
        await client_on(Replay(response(**fields))).encrypt(KEY_ID, b"secret")
    assert (caught.value.code, caught.value.request_id) == (code, "r-1")


async def test_a_key_id_in_another_case_is_the_same_key() -> None:
    answer = await client_on(Replay(encrypted(KeyId=KEY_ID.upper()))).encrypt(KEY_ID, b"x")
    assert answer.key_id == KEY_ID.upper()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Plaintext": "cGxhaW4="},
        {"KeyId": KEY_ID},
        {"KeyId": KEY_ID, "Plaintext": None},
        {"KeyId": KEY_ID, "Plaintext": "cGxhaW4"},
        {"KeyId": KEY_ID, "Plaintext": "cGxhaW4=\n"},
        {"KeyId": KEY_ID, "Plaintext": "ä"},
    ],
)
async def test_an_answer_to_decrypt_that_is_none(fields: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        await client_on(Replay(response(**fields))).decrypt(BLOB)
    assert caught.value.code == "InvalidAnswer"
    assert "cGxhaW4" not in "".join(traceback.format_exception(caught.value))


# -- What is never told ----------------------------------------------------------------------

PLAINTEXT = b"correct horse battery staple"


@pytest.mark.parametrize(
    "echoed",
    [
        PLAINTEXT.decode(),
        b64encode(PLAINTEXT).decode(),
        PLAINTEXT.hex(),
        f"the value {b64encode(PLAINTEXT).decode()} is not valid",
    ],
)
async def test_an_echoed_plaintext_is_in_no_error(echoed: str) -> None:
    transport = Replay(response(Error={"Code": "InvalidParameter", "Message": f"bad: {echoed}"}))
    with pytest.raises(ServiceError) as caught:
        await client_on(transport).encrypt(KEY_ID, PLAINTEXT)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    for secret in (PLAINTEXT.decode(), b64encode(PLAINTEXT).decode(), PLAINTEXT.hex()):
        assert secret not in shown
    assert (caught.value.code, caught.value.request_id) == ("InvalidParameter", "r-1")


def test_reprs_show_no_plaintext_and_no_secret() -> None:
    shown = repr(Decrypted(PLAINTEXT, KEY_ID, "r-1"))
    assert "horse" not in shown and "28 bytes" in shown
    assert "the-secret-key" not in repr(client_on(Replay({}), token="the-token"))


def test_the_payload_hash_is_of_the_bytes_that_are_sent() -> None:
    body = orjson.dumps({"KeyId": KEY_ID})
    client = client_on(Replay(response()))
    signed = client._signer.authorization(
        "AKIDEXAMPLE", "the-secret-key", int(NOW), hashlib.sha256(body).hexdigest()
    )
    assert signed == official_authorization(
        secret_id="AKIDEXAMPLE",
        secret_key="the-secret-key",
        timestamp_s=int(NOW),
        host="kms.tencentcloudapi.com",
        body=body,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"CiphertextBlob": b64encode(b"a secret value").decode()},
        {"CiphertextBlob": f"prefix{b64encode(b'a secret value').decode()}"},
        {"RequestId": b"a secret value".hex()},
    ],
)
async def test_an_answer_that_holds_the_plaintext_is_no_answer(changes: dict[str, str]) -> None:
    async with client_on(Replay(encrypted(**changes))) as client:
        with pytest.raises(ProtocolError, match="repeats the plaintext") as caught:
            await client.encrypt(KEY_ID, b"a secret value")
    assert caught.value.code == "EchoedPlaintext"
    assert not caught.value.verdict.retryable


@pytest.mark.parametrize(
    "code", ["hunter2", "InternalError.hunter2", "InternalError.68756e74657232"]
)
async def test_a_code_that_holds_the_plaintext_is_not_kept(code: str) -> None:
    error = {"Code": code, "Message": "no"}
    async with client_on(Replay(response(Error=error))) as client:
        with pytest.raises(ProtocolError) as caught:
            await client.encrypt(KEY_ID, b"hunter2")
    assert caught.value.code == "EchoedPlaintext"
    assert "hunter2" not in str(caught.value)


SECRET = b"a secret value"
TOKEN = "the+session/token=="
DATA_KEY = bytes(range(200, 232))
ALL_CALLS: list[Callable[[KmsClient], Any]] = [
    lambda kms: kms.encrypt(KEY_ID, b"hunter2"),
    lambda kms: kms.decrypt(BLOB),
    lambda kms: kms.reencrypt(BLOB),
    lambda kms: kms.generate_data_key(KEY_ID),
]


def written(secret: bytes) -> list[str]:
    """Forms in which a ciphertext may hold a secret."""
    at = [b64encode(b"\0" * offset + secret + b"xx").decode() for offset in range(3)]
    return [secret.hex(), secret.hex().upper(), *at, *(urlsafe(text) for text in at)]


def urlsafe(text: str) -> str:
    return text.replace("+", "-").replace("/", "_")


async def refused(call: Callable[[KmsClient], Any], answer: Any, *secrets: str) -> ProtocolError:
    """The error that a call ends with, which shows none of the secrets."""
    async with client_on(Replay(answer), token=TOKEN) as client:
        with pytest.raises(ProtocolError) as caught:
            await call(client)
    shown = "".join(traceback.format_exception(caught.value)) + str(caught.value.request_id)
    assert not [secret for secret in secrets if secret in shown]
    return caught.value


@pytest.mark.parametrize("secret", [SECRET, b"\xfb\xef\xbe?>~\xff\xff", b"sixsix"])
@pytest.mark.parametrize("form", range(8))
async def test_a_ciphertext_that_holds_the_plaintext_in_another_form(
    secret: bytes, form: int
) -> None:
    answer = encrypted(CiphertextBlob=written(secret)[form])
    error = await refused(lambda kms: kms.encrypt(KEY_ID, secret), answer)
    assert error.code == "EchoedPlaintext"


@given(plaintext=st.binary(min_size=6, max_size=4096))
def test_a_ciphertext_is_not_taken_for_its_plaintext(plaintext: bytes) -> None:
    text = b64encode(os.urandom(len(plaintext) + 150)).decode()
    assert not echoes(text, plaintext, b64encode(plaintext).decode())


@pytest.mark.parametrize("field", ["KeyId", "RequestId"])
async def test_a_decrypted_plaintext_is_in_nothing_else_of_the_answer(field: str) -> None:
    fields = {"Plaintext": b64encode(b"hunter2").decode(), "KeyId": KEY_ID, field: "x-hunter2"}
    error = await refused(lambda kms: kms.decrypt(BLOB), response(**fields), "hunter2")
    assert error.code == "EchoedPlaintext"


async def test_a_plaintext_may_be_the_id_of_the_cmk() -> None:
    answer = response(Plaintext=b64encode(KEY_ID.encode()).decode(), KeyId=KEY_ID)
    assert (await client_on(Replay(answer)).decrypt(BLOB)).plaintext == KEY_ID.encode()


async def test_a_request_id_that_holds_the_plaintext_is_in_no_error() -> None:
    answer = response(RequestId="hunter2.r-1", Error={"Code": "bad code!", "Message": "hunter2"})
    error = await refused(lambda kms: kms.encrypt(KEY_ID, b"hunter2"), answer, "hunter2")
    assert error.code == "EchoedPlaintext"


async def test_letters_of_a_known_code_are_no_plaintext() -> None:
    answer = response(Error={"Code": "InternalError", "Message": "no"})
    with pytest.raises(ServiceError, match="InternalError"):
        await client_on(Replay(answer)).encrypt(KEY_ID, b"internal")


@pytest.mark.parametrize("call", ALL_CALLS)
@pytest.mark.parametrize("error", [None, {"Code": "bad code!"}, {"Code": "X", "Message": TOKEN}])
@pytest.mark.parametrize("form", [TOKEN.rstrip("=").encode().hex(), b64encode(TOKEN.encode())])
async def test_the_session_token_is_in_no_request_id(
    call: Callable[[KmsClient], Any], error: Any, form: str | bytes
) -> None:
    text = (form if isinstance(form, str) else form.decode()).rstrip("=")
    fields: dict[str, Any] = {"RequestId": f"r.{text}", "Plaintext": b64encode(DATA_KEY).decode()}
    fields |= {"KeyId": KEY_ID, "SourceKeyId": KEY_ID, "CiphertextBlob": BLOB, "ReEncrypted": True}
    found = await refused(call, response(**fields, Error=error), text, TOKEN)
    assert (found.code, found.verdict.scope) == ("EchoedPlaintext", Scope.RUN)


@pytest.mark.parametrize("field", ["CiphertextBlob", "KeyId", "SourceKeyId"])
async def test_the_session_token_is_in_no_answer(field: str) -> None:
    fields = {"KeyId": KEY_ID, "SourceKeyId": KEY_ID, "CiphertextBlob": BLOB, "ReEncrypted": True}
    fields[field] = f"{TOKEN}-blob"
    error = await refused(lambda kms: kms.reencrypt(BLOB), response(**fields), TOKEN)
    assert error.code == "EchoedPlaintext"
    nested = response(KeyMetadatas=[{"Alias": TOKEN}])
    error = await refused(lambda kms: kms.describe_keys(["a"]), nested, TOKEN)
    assert error.code == "EchoedPlaintext"


async def test_a_session_token_may_be_what_was_decrypted() -> None:
    answer = response(Plaintext=b64encode(TOKEN.encode()).decode(), KeyId=KEY_ID)
    async with client_on(Replay(answer), token=TOKEN) as client:
        assert (await client.decrypt(BLOB)).plaintext == TOKEN.encode()


@pytest.mark.parametrize("form", range(8))
@pytest.mark.parametrize("field", ["CiphertextBlob", "RequestId"])
async def test_a_data_key_that_is_not_encrypted_is_none(field: str, form: int) -> None:
    text = written(DATA_KEY)[form].rstrip("=")
    if field == "RequestId":
        text = DATA_KEY.hex()
    answer = encrypted(**{"Plaintext": b64encode(DATA_KEY).decode(), field: text})
    error = await refused(lambda kms: kms.generate_data_key(KEY_ID), answer, text)
    assert error.code == "EchoedPlaintext"


@pytest.mark.parametrize("field", ["KeyId", "SourceKeyId"])
@pytest.mark.parametrize("key_id", ["", "a b", "k\x1b[31m", "ключ", "A" * 129, 5, None])
async def test_a_key_id_that_is_none(field: str, key_id: object) -> None:
    fields = {"KeyId": KEY_ID, "SourceKeyId": KEY_ID, "CiphertextBlob": BLOB, "ReEncrypted": True}
    answer = response(Plaintext="QQ==", **{**fields, field: key_id})
    calls = ALL_CALLS[1:3] if field == "KeyId" else ALL_CALLS[2:3]
    for call in calls:
        assert (await refused(call, answer)).code == "InvalidAnswer"


async def test_a_key_id_in_other_letters_is_another_key() -> None:
    answer = encrypted(KeyId="\N{KELVIN SIGN}ey")
    assert (await refused(lambda kms: kms.encrypt("key", b"x"), answer)).code == "WrongKeyId"


@pytest.mark.parametrize("deep", [b"[" * 1000 + b"]" * 1000, b'{"a":' * 1000 + b"1" + b"}" * 1000])
@pytest.mark.parametrize("call", ALL_CALLS)
async def test_an_answer_that_is_nested_deep_is_none(
    call: Callable[[KmsClient], Any], deep: bytes
) -> None:
    body = b'{"Response":{"RequestId":"r-1","CiphertextBlob":%b,"Plaintext":%b}}' % (deep, deep)
    assert (await refused(call, body)).verdict.error_class == "protocol"
    error = b'{"Response":{"RequestId":"r-1","Error":{"Code":"X","Message":%b}}}' % deep
    async with client_on(Replay(error)) as client:
        with pytest.raises(ServiceError, match="X: "):
            await call(client)


@pytest.mark.parametrize("code", ["", "a b", "a\n", "\x9b", "A" * 129, "A..B", ".A", 5, None])
async def test_a_code_that_is_none_is_no_answer(code: object) -> None:
    async with client_on(Replay(response(Error={"Code": code, "Message": "no"}))) as client:
        with pytest.raises(ProtocolError) as caught:
            await client.encrypt(KEY_ID, b"hunter2")
    assert caught.value.code == "InvalidAnswer"
