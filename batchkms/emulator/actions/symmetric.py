"""Encrypt and Decrypt: up to 4,096 bytes under a CMK, with a context bound to them."""

from __future__ import annotations

import base64
from typing import Any

from batchkms.emulator.actions.base import SYMMETRIC_GROUP, Action, Office
from batchkms.emulator.actions.lookup import named_key
from batchkms.emulator.apierror import api_error, unsupported
from batchkms.emulator.ciphertext import BadBlob, decode_base64, parse_blob
from batchkms.emulator.parameters import ParameterTable, encryption_context
from batchkms.emulator.store import KeyState

MAX_PLAINTEXT_BYTES = 4096
_MAX_PLAINTEXT_CHARS = 4 * -(-MAX_PLAINTEXT_BYTES // 3)

_REFUSED_STATES = {
    KeyState.DISABLED: "ResourceUnavailable.CmkDisabled",
    # A key must be disabled before its deletion can be scheduled, and the action's documented
    # codes have no other one for it.
    KeyState.PENDING_DELETE: "ResourceUnavailable.CmkDisabled",
    KeyState.PENDING_IMPORT: "ResourceUnavailable.CmkStateNotSupport",
}


async def _encrypt(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    held = await named_key(office, parameters["KeyId"])
    plaintext = _plaintext(parameters["Plaintext"])
    context = encryption_context(parameters)
    if held.key.state is not KeyState.ENABLED:
        # An archived key still decrypts, but takes nothing new.
        code = _REFUSED_STATES.get(held.key.state, "ResourceUnavailable.CmkArchived")
        raise api_error(code)
    blob = held.cipher.encrypt(plaintext, context)
    return {"CiphertextBlob": blob, "KeyId": held.key.key_id}


def _plaintext(text: str) -> bytes:
    """1 to 4,096 bytes from canonical base64; all else is the same error."""
    plaintext = decode_base64(text) if len(text) <= _MAX_PLAINTEXT_CHARS else None
    if not plaintext or len(plaintext) > MAX_PLAINTEXT_BYTES:
        raise api_error("InvalidParameterValue.InvalidPlaintext")
    return plaintext


async def _decrypt(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    if parameters.get("EncryptionPublicKey"):
        # An answer that ignored it would carry the plaintext in the clear.
        raise unsupported("This emulator does not encrypt answers to an EncryptionPublicKey.")
    context = encryption_context(parameters)
    try:
        blob = parse_blob(parameters["CiphertextBlob"])
        held = await office.keys.find_by_handle(blob.handle)
        if held is None:
            raise BadBlob
        if held.key.state in _REFUSED_STATES:
            raise api_error(_REFUSED_STATES[held.key.state])
        plaintext = held.cipher.decrypt(blob, context)
    except BadBlob:
        raise api_error("InvalidParameterValue.InvalidCiphertext") from None
    return {"KeyId": held.key.key_id, "Plaintext": base64.b64encode(plaintext).decode()}


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
                "EncryptionAlgorithm": str,
            },
        ),
        handle=_decrypt,
    ),
)
