"""TC3-HMAC-SHA256: the signature of Tencent Cloud API 3.0.

Pure functions of their arguments. The algorithm and its vectors are in the vendor's pages
1150/49447 and api/1005/34678; tests hold every step to the published values.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime

from batchkms.kms.wire import ALGORITHM, CONTENT_TYPE, SERVICE

_SUFFIX = "tc3_request"


_EMPTY = hashlib.sha256()
"""A copy of it is there in half the time that a new one takes."""


def sha256_hex(data: bytes) -> str:
    """The SHA-256 of a body as the signature wants it, hexadecimal."""
    digest = _EMPTY.copy()
    digest.update(data)
    return digest.hexdigest()


def utc_date(timestamp_s: int) -> str:
    """The UTC date of a Unix time as the credential scope wants it, `2019-02-25`."""
    return datetime.fromtimestamp(timestamp_s, UTC).strftime("%Y-%m-%d")


def derive_signing_key(secret_key: str, date: str, service: str = SERVICE) -> bytes:
    """The key that signs everything of one day and one service; 32 bytes."""
    secret_date = _hmac(f"TC3{secret_key}".encode(), date)
    return _hmac(_hmac(secret_date, service), _SUFFIX)


def canonical_request(
    *, method: str, query: str, headers: list[tuple[str, str]], payload_sha256: str
) -> str:
    """The request in the form that is hashed.

    `headers` are the signed ones, sorted by name; names and values are lower-cased and
    trimmed here. `query` is the raw query string, empty for POST.
    """
    lines = "".join(f"{name.lower()}:{value.strip().lower()}\n" for name, value in headers)
    names = ";".join(name.lower() for name, _ in headers)
    return f"{method}\n/\n{query}\n{lines}\n{names}\n{payload_sha256}"


def string_to_sign(timestamp_s: int | str, date: str, service: str, canonical: str) -> str:
    """What the signing key signs."""
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return f"{ALGORITHM}\n{timestamp_s}\n{date}/{service}/{_SUFFIX}\n{digest}"


def signature(signing_key: bytes, to_sign: str) -> str:
    """The signature, 64 hexadecimal digits."""
    return _hmac(signing_key, to_sign).hex()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


class _HmacKey:
    """A key of HMAC-SHA-256 that is used over and over: what it does to the hash is done once.

    `hmac.digest` looks the algorithm up and prepares the key each time, which takes longer than
    all the hashing of a request. RFC 2104, section 4, describes this.
    """

    def __init__(self, key: bytes) -> None:
        # No key of ours is longer than a block, which would have to be hashed first.
        padded = key.ljust(64, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))
        self._begun = self._inner

    def begin(self, head: str) -> None:
        """All texts that are signed from now on begin with this."""
        self._begun = self._inner.copy()
        self._begun.update(head.encode())

    def signature(self, rest: str) -> str:
        """What `signature` gives for this key, and the text that goes on with this."""
        inner, outer = self._begun.copy(), self._outer.copy()
        inner.update(rest.encode())
        outer.update(inner.digest())
        return outer.hexdigest()


class RequestSigner:
    """Signs the JSON POSTs of one host and keeps what does not change between them.

    The signing key is derived once per day and secret key, and what all signatures of one second
    have in common is hashed once. `content-type` and `host` are
    signed, as every official SDK does.
    """

    def __init__(
        self, *, host: str, service: str = SERVICE, content_type: str = CONTENT_TYPE
    ) -> None:
        self._service = service
        signed = [("content-type", content_type), ("host", host)]
        canonical = canonical_request(method="POST", query="", headers=signed, payload_sha256="")
        self._canonical = hashlib.sha256(canonical.encode())
        self._now: tuple[int, str, str] = (-1, "", "")
        self._day_s = -1
        self._scope = ""
        self._start = ""
        self._key = _HmacKey(b"")

    def authorization(
        self, secret_id: str, secret_key: str, timestamp_s: int, payload_sha256: str
    ) -> str:
        """The Authorization header for a body with this SHA-256 (hexadecimal)."""
        now = (timestamp_s, secret_id, secret_key)
        if now != self._now:
            self._begin(*now)
        hashed = self._canonical.copy()
        hashed.update(payload_sha256.encode())
        return self._start + self._key.signature(hashed.hexdigest())

    def _begin(self, timestamp_s: int, secret_id: str, secret_key: str) -> None:
        """Prepares what is the same in every signature of a second."""
        day_s = timestamp_s // 86_400
        if day_s != self._day_s or secret_key != self._now[2]:
            date = utc_date(timestamp_s)
            self._scope = f"{date}/{self._service}/{_SUFFIX}"
            self._key = _HmacKey(derive_signing_key(secret_key, date, self._service))
            self._day_s = day_s
        self._key.begin(f"{ALGORITHM}\n{timestamp_s}\n{self._scope}\n")
        self._start = (
            f"{ALGORITHM} Credential={secret_id}/{self._scope}, "
            f"SignedHeaders=content-type;host, Signature="
        )
        self._now = (timestamp_s, secret_id, secret_key)
