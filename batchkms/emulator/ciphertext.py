"""Ciphertext blobs: the service's shape and lengths, with real encryption inside.

A blob of an n-byte plaintext is three base64 texts with `-k-` between them:

    64 bytes                  handle of the CMK and its version, the same in each of their blobs
    16 bytes                  fingerprint of the EncryptionContext, whatever the CMK
    20 + 16 * (n // 16 + 1)   4-byte nonce, 16-byte tag, plaintext padded to whole blocks

The lengths are those of public samples of the service. AES-GCM needs 28 bytes and does not fit;
AES-SIV (RFC 5297) does. It stays safe when a nonce repeats: that shows at most that the same
plaintext was encrypted twice. Handle, nonce and context are authenticated with it, so that a
blob with any byte changed, or under another context, never decrypts.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

MATERIAL_BYTES = 32
"""AES-256."""

_SEPARATOR = "-k-"
_NONCE_BYTES = 4
_TAG_BYTES = 16
_BLOCK_BYTES = 16
_MAX_PAYLOAD_CHARS = 5_600
"""A little over the base64 of the longest payload: nothing longer is even decoded."""


class BadBlob(ValueError):
    """Not a blob of this key and context."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob taken apart: two parts as texts, as they are only compared, and the payload."""

    handle: str
    fingerprint: str
    payload: bytes


def parse_blob(text: str) -> Blob:
    """Takes a blob apart. Raises BadBlob."""
    parts = text.split(_SEPARATOR, 3)
    if len(parts) != 3 or len(parts[2]) > _MAX_PAYLOAD_CHARS:
        raise BadBlob
    payload = decode_base64(parts[2])
    overhead = _NONCE_BYTES + _TAG_BYTES
    if payload is None or len(payload) <= overhead or (len(payload) - overhead) % _BLOCK_BYTES:
        raise BadBlob
    return Blob(parts[0], parts[1], payload)


def decode_base64(text: str) -> bytes | None:
    """The bytes, or None unless the text is exactly what encoding them gives.

    So missing padding, white space, other alphabets and stray bits at the end are all refused.
    """
    try:
        value = binascii.a2b_base64(text)
    except ValueError:
        return None
    return value if binascii.b2a_base64(value, newline=False) == text.encode() else None


def context_fingerprint(context: str) -> str:
    """The second part of a blob. The empty text stands for no context."""
    digest = blake2b(context.encode(), digest_size=16, person=b"batchkms context")
    return base64.b64encode(digest.digest()).decode()


def handle_of(key_id: str, number: int, material: bytes) -> bytes:
    """The first part of the blobs of a version of a key; versions are counted from 1."""
    return hmac.digest(material, f"handle {number} of {key_id}".encode(), "sha512")


class KeyCipher:
    """Encrypts and decrypts under the material of one version of a CMK.

    `draw` gives so many random bytes.
    """

    def __init__(
        self,
        key_id: str,
        material: bytes,
        number: int = 1,
        draw: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._bound = handle_of(key_id, number, material)
        self.handle = base64.b64encode(self._bound).decode()
        self._draw = draw
        # AES-SIV takes two keys of 256 bits: both come from the material, which is one.
        self._siv = AESSIV(hmac.digest(material, b"batchkms emulator AES-SIV 1", "sha512"))

    def encrypt(self, plaintext: bytes, context: str) -> str:
        """A new blob; each call gives another one."""
        fill = _BLOCK_BYTES - len(plaintext) % _BLOCK_BYTES
        padded = plaintext + bytes((fill,)) * fill
        nonce = self._draw(_NONCE_BYTES)
        sealed = self._siv.encrypt(padded, [self._bound + nonce + context.encode()])
        payload = binascii.b2a_base64(nonce + sealed, newline=False).decode()
        return _SEPARATOR.join((self.handle, context_fingerprint(context), payload))

    def decrypt(self, blob: Blob, context: str) -> bytes:
        """The plaintext. Raises BadBlob."""
        if blob.handle != self.handle or blob.fingerprint != context_fingerprint(context):
            raise BadBlob
        nonce, sealed = blob.payload[:_NONCE_BYTES], blob.payload[_NONCE_BYTES:]
        try:
            padded = self._siv.decrypt(sealed, [self._bound + nonce + context.encode()])
        except InvalidTag:
            raise BadBlob from None
        # What is authentic was padded by us.
        return padded[: -padded[-1]]


def handle_text(key_id: str, number: int, material: bytes) -> str:
    """The handle as it stands in blobs."""
    return base64.b64encode(handle_of(key_id, number, material)).decode()
