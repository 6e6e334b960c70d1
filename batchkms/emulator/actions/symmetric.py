"""Encrypt, Decrypt and ReEncrypt: up to 4,096 bytes under a CMK, with a context bound to them."""

from __future__ import annotations

import base64
from typing import Any

from batchkms.emulator.actions.base import SYMMETRIC_GROUP, Action, Office
from batchkms.emulator.actions.lookup import named_key
from batchkms.emulator.apierror import api_error
from batchkms.emulator.ciphertext import BadBlob, Blob, decode_base64, parse_blob
from batchkms.emulator.keyring import HeldKey
from batchkms.emulator.parameters import ParameterTable, Text, encryption_context
from batchkms.emulator.rsa import RSA_ALGORITHMS, SM2_ALGORITHMS, answer_for
from batchkms.emulator.states import allow

MAX_PLAINTEXT_BYTES = 4096
_MAX_PLAINTEXT_CHARS = 4 * -(-MAX_PLAINTEXT_BYTES // 3)

ENCRYPTION_ALGORITHM = Text(one_of=("", *SM2_ALGORITHMS, *RSA_ALGORITHMS))
"""How an answer is encrypted to an EncryptionPublicKey, where there is one."""


async def _encrypt(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    held = await named_key(office, parameters["KeyId"])
    plaintext = _plaintext(parameters["Plaintext"])
    context = encryption_context(parameters)
    return {"CiphertextBlob": sealed("Encrypt", held, plaintext, context), "KeyId": held.key.key_id}


def sealed(action: str, held: HeldKey, plaintext: bytes, context: str) -> str:
    """A blob under the newest version of a key, if the action may be asked of it.

    Raises ApiError.
    """
    allow(action, held.key)
    if held.cipher is None:
        raise RuntimeError("a key that may encrypt has no material")
    return held.cipher.encrypt(plaintext, context)


def _plaintext(text: str) -> bytes:
    """1 to 4,096 bytes from canonical base64; all else is the same error."""
    plaintext = decode_base64(text) if len(text) <= _MAX_PLAINTEXT_CHARS else None
    if not plaintext or len(plaintext) > MAX_PLAINTEXT_BYTES:
        raise api_error("InvalidParameterValue.InvalidPlaintext")
    return plaintext


async def _decrypt(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    context = encryption_context(parameters)
    held, _, plaintext = await _opened(office, parameters["CiphertextBlob"], context)
    answer = answered(office, parameters, plaintext)
    return {"KeyId": held.key.key_id, "Plaintext": answer}


def answered(office: Office, parameters: dict[str, Any], plaintext: bytes) -> str:
    """What an answer says for a plaintext, in base64. Raises ApiError.

    With an EncryptionPublicKey it is encrypted to that key, and never in the clear.
    """
    public_key = parameters.get("EncryptionPublicKey")
    if public_key:
        algorithm = parameters.get("EncryptionAlgorithm", "")
        plaintext = answer_for(public_key, algorithm, plaintext, office.randomness)
    return base64.b64encode(plaintext).decode()


async def _opened(office: Office, text: str, context: str) -> tuple[HeldKey, Blob, bytes]:
    """What is in a blob, and the key that it was made under. Raises ApiError."""
    try:
        blob = parse_blob(text)
        held = await office.keys.find_by_handle(blob.handle)
        if held is None:
            if office.keys.is_gone(blob.handle):
                raise api_error("ResourceUnavailable.CmkNotFound")
            raise BadBlob
        allow("Decrypt", held.key)
        return held, blob, held.ciphers[blob.handle].decrypt(blob, context)
    except BadBlob:
        raise api_error("InvalidParameterValue.InvalidCiphertext") from None


async def _reencrypt(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    """Decrypts and encrypts again, within.

    What is under the newest version of the same key already, with the same context, is given
    back as it is: the documentation says so of a key that was not rotated. Its example of
    another context on the same key has a new blob, without which no answer would be right.
    """
    text = parameters["CiphertextBlob"]
    source = encryption_context(parameters, "SourceEncryptionContext")
    destination = encryption_context(parameters, "DestinationEncryptionContext")
    held, blob, plaintext = await _opened(office, text, source)
    key_id = parameters.get("DestinationKeyId") or held.key.key_id
    target = await named_key(office, key_id)
    new = sealed("Encrypt", target, plaintext, destination)
    current = target.cipher is not None and target.cipher.handle == blob.handle
    kept = current and source == destination
    return {
        "CiphertextBlob": text if kept else new,
        "KeyId": target.key.key_id,
        "SourceKeyId": held.key.key_id,
        "ReEncrypted": not kept,
    }


SYMMETRIC_ACTIONS = (
    Action(
        name="Encrypt",
        group=SYMMETRIC_GROUP,
        parameters=ParameterTable(
            required={"KeyId": str, "Plaintext": str}, optional={"EncryptionContext": str}
        ),
        handle=_encrypt,
    ),
    Action(
        name="Decrypt",
        group=SYMMETRIC_GROUP,
        parameters=ParameterTable(
            required={"CiphertextBlob": str},
            optional={
                "EncryptionContext": str,
                "EncryptionPublicKey": str,
                "EncryptionAlgorithm": ENCRYPTION_ALGORITHM,
            },
        ),
        handle=_decrypt,
    ),
    Action(
        name="ReEncrypt",
        parameters=ParameterTable(
            required={"CiphertextBlob": str},
            optional={
                "DestinationKeyId": str,
                "SourceEncryptionContext": str,
                "DestinationEncryptionContext": str,
            },
        ),
        handle=_reencrypt,
    ),
)
