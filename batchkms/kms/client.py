"""A KMS client: one coroutine per action, one call per coroutine, nothing repeated.

    async with KmsClient(region="ap-guangzhou") as kms:
        answer = await kms.encrypt("5a7f…", b"secret")

Retrying is the caller's matter: every error carries a verdict that says whether it can help.
"""

from __future__ import annotations

import time
from binascii import b2a_base64
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import orjson

from batchkms._version import __version__
from batchkms.errors import KmsError, ProtocolError
from batchkms.kms.answers import (
    DataKey,
    Decrypted,
    Encrypted,
    Reencrypted,
    blob_of,
    echoes,
    key_id_of,
    plaintext_of,
    refuse_echo,
    refuse_token,
    response_of,
    same_key,
    without_error,
    without_secret,
)
from batchkms.kms.credentials import CredentialSource
from batchkms.kms.credentialsearch import find_credentials
from batchkms.kms.endpoint import Endpoint, parse_endpoint
from batchkms.kms.headers import SignedHeaders
from batchkms.kms.http1.requests import RequestTemplate
from batchkms.kms.requestids import RequestIds
from batchkms.kms.scrub import holds, long_forms
from batchkms.kms.signing import RequestSigner, sha256_hex
from batchkms.kms.transport import Answer, Transport
from batchkms.kms.transports import TransportKind, transport_to
from batchkms.kms.wire import (
    CONTENT_TYPE,
    HEADER_ACTION,
    HEADER_LANGUAGE,
    HEADER_REGION,
    HEADER_TIMESTAMP,
    HEADER_TOKEN,
    HEADER_VERSION,
    VERSION,
)

DEFAULT_ENDPOINT = "https://kms.tencentcloudapi.com"


class KmsClient:
    """A client of one endpoint and region.

    `endpoint` is a URL (default: the service's nearest access point). `credentials` is any
    `CredentialSource`; by default they are looked for as `find_credentials` says. `transport` is
    one, or which kind: `wire` is the fast one, which goes through no proxy, `auto` takes it where
    there is none. Make it inside a running event loop. Raises ConfigError for an endpoint, a
    proxy or a CA file that cannot be used.
    """

    def __init__(
        self,
        *,
        region: str,
        endpoint: str | Endpoint = DEFAULT_ENDPOINT,
        credentials: CredentialSource | None = None,
        transport: Transport | TransportKind = "auto",
        ca_file: str | None = None,
        proxy: str | None = None,
        connect_timeout_s: float = 3.0,
        timeout_s: float = 10.0,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        target = parse_endpoint(endpoint) if isinstance(endpoint, str) else endpoint
        self._credentials = credentials or find_credentials()
        self._signer = RequestSigner(host=target.host)
        if isinstance(transport, str):
            self._transport = transport_to(
                target,
                transport,
                ca_file=ca_file,
                proxy=proxy,
                connect_timeout_s=connect_timeout_s,
                timeout_s=timeout_s,
            )
        else:
            self._transport = transport
        self._wall_clock = wall_clock
        self._request_ids = RequestIds()
        # The last session token, and how it may be written: it is looked for in every answer.
        self._token_forms: tuple[str, list[str]] = ("", [])
        self._shared: dict[str, tuple[dict[str, str], RequestTemplate]] = {}
        self._constant_headers = {
            "Host": target.host,
            "Content-Type": CONTENT_TYPE,
            "User-Agent": f"batchkms/{__version__}",
            HEADER_VERSION: VERSION,
            HEADER_REGION: region,
            HEADER_LANGUAGE: "en-US",
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections and whatever the credentials need."""
        await self._transport.aclose()
        await self._credentials.aclose()

    async def encrypt(
        self, key_id: str, plaintext: bytes, *, encryption_context: str | None = None
    ) -> Encrypted:
        """Encrypts up to 4,096 bytes under a CMK.

        `encryption_context` is the exact JSON string to bind (up to 1,024 characters); the
        same string is needed to decrypt. Raises KmsError; an answer for another CMK than
        `key_id` is a ProtocolError `WrongKeyId`.
        """
        parameters = {"KeyId": key_id, "Plaintext": b2a_base64(plaintext, newline=False).decode()}
        if encryption_context is not None:
            parameters["EncryptionContext"] = encryption_context
        try:
            answer = await self.call("Encrypt", parameters)
        except KmsError as error:
            # The service may quote what it refuses, and all of it may be logged anywhere.
            raise without_secret(error, plaintext) from None
        # The key id is the one that was sent, or is refused without being shown.
        refuse_echo(answer, plaintext, parameters["Plaintext"], of_key=False)
        return Encrypted(blob_of(answer), same_key(answer, key_id), answer["RequestId"])

    async def decrypt(
        self, ciphertext_blob: str, *, encryption_context: str | None = None
    ) -> Decrypted:
        """Decrypts a ciphertext blob; the service finds the CMK in it. Raises KmsError."""
        parameters = {"CiphertextBlob": ciphertext_blob}
        if encryption_context is not None:
            parameters["EncryptionContext"] = encryption_context
        answer = await self.call("Decrypt", parameters)
        plaintext = plaintext_of(answer)
        refuse_echo(answer, plaintext, answer["Plaintext"])
        return Decrypted(plaintext, key_id_of(answer), answer["RequestId"])

    async def reencrypt(
        self,
        ciphertext_blob: str,
        *,
        destination_key_id: str | None = None,
        source_context: str | None = None,
        destination_context: str | None = None,
    ) -> Reencrypted:
        """Moves a ciphertext blob to another CMK, or to the newest version of its own.

        The plaintext stays in the service. Raises KmsError; an answer for another CMK than
        `destination_key_id` is a ProtocolError `WrongKeyId`.
        """
        given = {
            "CiphertextBlob": ciphertext_blob,
            "DestinationKeyId": destination_key_id,
            "SourceEncryptionContext": source_context,
            "DestinationEncryptionContext": destination_context,
        }
        answer = await self.call(
            "ReEncrypt", {name: value for name, value in given.items() if value is not None}
        )
        blob, request_id = blob_of(answer), answer["RequestId"]
        key_id, source_key_id = key_id_of(answer), key_id_of(answer, "SourceKeyId")
        moved = answer.get("ReEncrypted")
        if type(moved) is not bool:
            raise ProtocolError(
                "InvalidAnswer", "the answer lacks ReEncrypted", request_id=request_id
            )
        if destination_key_id is not None:
            key_id = same_key(answer, destination_key_id)
        return Reencrypted(blob, key_id, source_key_id, moved, request_id)

    async def generate_data_key(
        self, key_id: str, *, encryption_context: str | None = None
    ) -> DataKey:
        """A new 256-bit data key, and the same encrypted under a CMK. Raises KmsError.

        The same context is needed to decrypt it.
        """
        parameters = {"KeyId": key_id, "KeySpec": "AES_256"}
        if encryption_context is not None:
            parameters["EncryptionContext"] = encryption_context
        answer = await self.call("GenerateDataKey", parameters)
        plaintext = plaintext_of(answer)
        told = f"{answer['RequestId']} {blob_of(answer)}"
        if echoes(told, plaintext, answer["Plaintext"]) or holds(told, plaintext):
            raise ProtocolError(
                "EchoedPlaintext",
                "the answer repeats the data key where that should be encrypted",
                hint="the endpoint is no KMS: check --endpoint",
            )
        if len(plaintext) != 32:
            raise ProtocolError(
                "InvalidAnswer",
                "the answer has no data key of 256 bits",
                request_id=answer["RequestId"],
            )
        return DataKey(plaintext, blob_of(answer), same_key(answer, key_id), answer["RequestId"])

    async def describe_key(self, key_id: str) -> dict[str, Any]:
        """The CMK's KeyMetadata as the service gives it (KeyState, Alias, …). Raises KmsError."""
        answer = await self.call("DescribeKey", {"KeyId": key_id})
        metadata = answer.get("KeyMetadata")
        if not isinstance(metadata, dict):
            raise ProtocolError(
                "InvalidAnswer", "the answer has no KeyMetadata", request_id=answer["RequestId"]
            )
        return metadata

    async def describe_keys(self, key_ids: Sequence[str]) -> list[dict[str, Any]]:
        """The KeyMetadata of up to 100 different CMKs, as the service gives it. Raises KmsError.

        One key that does not exist or may not be seen refuses the whole call. Whether the
        service keeps the order, or always names every key, is documented nowhere.
        """
        answer = await self.call("DescribeKeys", {"KeyIds": list(key_ids)})
        metadatas = answer.get("KeyMetadatas")
        if not isinstance(metadatas, list) or not all(isinstance(each, dict) for each in metadatas):
            raise ProtocolError(
                "InvalidAnswer", "the answer has no KeyMetadatas", request_id=answer["RequestId"]
            )
        return metadatas

    async def get_service_status(self) -> dict[str, Any]:
        """What the account has bought: QpsLimit, RegionsQps, CmkLimit, …. Raises KmsError."""
        return await self.call("GetServiceStatus", {})

    async def call(self, action: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Any action: its `Response` object, with a valid RequestId. Raises KmsError."""
        body = orjson.dumps(parameters)
        credentials = await self._credentials.credentials()
        timestamp_s = int(self._wall_clock())
        authorization = self._signer.authorization(
            credentials.secret_id, credentials.secret_key, timestamp_s, sha256_hex(body)
        )
        own = [(HEADER_TIMESTAMP, str(timestamp_s)), ("Authorization", authorization)]
        headers = SignedHeaders(*(self._shared.get(action) or self._share(action)), own)
        if not credentials.token:
            return await self._transport.post(headers, body, self._answered)
        own.append((HEADER_TOKEN, credentials.token))
        # All that is sent of the credentials; the key never leaves. Padding is nothing secret.
        token = credentials.token.rstrip("=")
        try:
            answer = await self._transport.post(headers, body, self._answered)
        except KmsError as error:
            raise without_secret(error, token.encode()) from None
        if self._token_forms[0] != token:
            self._token_forms = token, long_forms(token.encode())
        refuse_token(answer, self._token_forms[1])
        return answer

    def _share(self, action: str) -> tuple[dict[str, str], RequestTemplate]:
        """What all requests of this action have in common."""
        headers = {**self._constant_headers, HEADER_ACTION: action}
        self._shared[action] = headers, RequestTemplate(headers)
        return self._shared[action]

    def _answered(self, answer: Answer) -> dict[str, Any]:
        response = response_of(answer)
        if not self._request_ids.is_new(response["RequestId"]):
            raise ProtocolError(
                "RepeatedRequestId", "the answer has the RequestId of an earlier one"
            )
        return without_error(answer, response)
