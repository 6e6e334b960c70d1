"""The envelope of a row: AES-256-GCM under a data key. The format is in `docs/envelope.md`.

ciphertext       base64 of: 01 | nonce (12 bytes) | encrypted plaintext | tag (16 bytes)
associated data  "batchkms/envelope/1" 00 | length of the id (4 bytes, big-endian) | id
                 | 00, or 01 and the encryption context; texts in UTF-8
"""

from __future__ import annotations

import os
from binascii import a2b_base64, b2a_base64

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = b"\x01"
NONCE_BYTES = 12
TAG_BYTES = 16

DATA_KEY_CONTEXT = '{"batchkms":"envelope/1"}'
"""The encryption context of every data key. No row may have it (`RESERVED_CONTEXT_MEMBER`), so
that a data key which stands in the place of a ciphertext is not decrypted into a result, nor is
the ciphertext of a row taken for a data key."""

_LABEL = b"batchkms/envelope/1\x00"


class BadEnvelope(Exception):
    """It is no envelope, or not the one that was sealed for this row; the text says which."""


def nonces(count: int) -> list[bytes]:
    """Random nonces, all from one call of the system's generator."""
    drawn = os.urandom(NONCE_BYTES * count)
    return [drawn[at : at + NONCE_BYTES] for at in range(0, len(drawn), NONCE_BYTES)]


def associated_data(row_id: str, context: str | None) -> bytes:
    """What binds an envelope to its row. An empty context is none: files cannot tell the two."""
    named = row_id.encode()
    bound = b"\x01" + context.encode() if context else b"\x00"
    return b"%b%b%b%b" % (_LABEL, len(named).to_bytes(4, "big"), named, bound)


def seal(key: AESGCM, nonce: bytes, plaintext: bytes, row_id: str, context: str | None) -> str:
    """The ciphertext of a row. A nonce must never be used twice with one key.

    Raises ValueError for a row without an id: read from a file, it would have another one.
    """
    if not row_id:
        raise ValueError("a row without an id cannot be bound to it")
    return seal_with(key, nonce, plaintext, associated_data(row_id, context))


def seal_with(key: AESGCM, nonce: bytes, plaintext: bytes, associated: bytes) -> str:
    """The ciphertext that is bound to any associated data."""
    sealed = key.encrypt(nonce, plaintext, associated)
    return b2a_base64(VERSION + nonce + sealed, newline=False).decode()


def unseal(key: AESGCM, ciphertext: str, row_id: str, context: str | None) -> bytes:
    """The plaintext of a row. Raises BadEnvelope."""
    return unseal_with(key, ciphertext, associated_data(row_id, context))


def unseal_with(key: AESGCM, ciphertext: str, associated: bytes) -> bytes:
    """The plaintext that was bound to any associated data. Raises BadEnvelope."""
    sealed = _from_base64(ciphertext)
    if sealed[:1] != VERSION or len(sealed) < 1 + NONCE_BYTES + TAG_BYTES:
        raise BadEnvelope("the ciphertext is no envelope of version 1")
    nonce, encrypted = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    try:
        return key.decrypt(nonce, encrypted, associated)
    except InvalidTag:
        raise BadEnvelope(
            "the envelope does not open: its ciphertext, id, context or data key was changed"
        ) from None


def _from_base64(text: str) -> bytes:
    """What a ciphertext stands for, if it is written in the one way that `seal` writes it.

    The decoder lets stray bits and padding pass, so that a changed text could open: encoding again
    does not.
    """
    try:
        sealed = a2b_base64(text, strict_mode=True)
    except ValueError:  # Of which binascii.Error is one.
        raise BadEnvelope("the ciphertext is no base64") from None
    if b2a_base64(sealed, newline=False) != text.encode():
        raise BadEnvelope("the ciphertext is no base64 in its one form")
    return sealed
