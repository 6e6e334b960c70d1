"""The envelope of a row: AES-256-GCM under a data key. The format is in `docs/envelope.md`.

ciphertext       base64 of: 01 | nonce (12 bytes) | encrypted plaintext | tag (16 bytes)
associated data  "batchkms/envelope/1" 00 | length of the id (4 bytes, big-endian) | id
                 | 00, or 01 and the encryption context; texts in UTF-8
"""

from __future__ import annotations

import os
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = b"\x01"
NONCE_BYTES = 12
TAG_BYTES = 16

_LABEL = b"batchkms/envelope/1\x00"


class BadEnvelope(Exception):
    """It is no envelope, or not the one that was sealed for this row; the text says which."""


def nonces(count: int) -> list[bytes]:
    """Random nonces, all from one call of the system's generator."""
    drawn = os.urandom(NONCE_BYTES * count)
    return [drawn[at : at + NONCE_BYTES] for at in range(0, len(drawn), NONCE_BYTES)]


def associated_data(row_id: str, context: str | None) -> bytes:
    """What binds an envelope to its row."""
    named = row_id.encode()
    bound = b"\x00" if context is None else b"\x01" + context.encode()
    return b"%b%b%b%b" % (_LABEL, len(named).to_bytes(4, "big"), named, bound)


def seal(key: AESGCM, nonce: bytes, plaintext: bytes, row_id: str, context: str | None) -> str:
    """The ciphertext of a row. A nonce must never be used twice with one key."""
    sealed = key.encrypt(nonce, plaintext, associated_data(row_id, context))
    return b2a_base64(VERSION + nonce + sealed, newline=False).decode()


def unseal(key: AESGCM, ciphertext: str, row_id: str, context: str | None) -> bytes:
    """The plaintext of a row. Raises BadEnvelope."""
    try:
        sealed = a2b_base64(ciphertext, strict_mode=True)
    except (ValueError, Base64Error):
        raise BadEnvelope("the ciphertext is no base64") from None
    if sealed[:1] != VERSION or len(sealed) < 1 + NONCE_BYTES + TAG_BYTES:
        raise BadEnvelope("the ciphertext is no envelope of version 1")
    nonce, encrypted = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    try:
        return key.decrypt(nonce, encrypted, associated_data(row_id, context))
    except InvalidTag:
        raise BadEnvelope(
            "the envelope does not open: its ciphertext, id, context or data key was changed"
        ) from None
