"""TC3-HMAC-SHA256: the signature of Tencent Cloud API 3.0.

Pure functions of their arguments. The algorithm and its vectors are in the vendor's pages
1150/49447 and api/1005/34678; tests hold every step to the published values.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime

from batchkms.kms.wire import ALGORITHM, SERVICE

_SUFFIX = "tc3_request"


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
    return hmac.new(signing_key, to_sign.encode(), hashlib.sha256).hexdigest()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
