"""Who calls: verifies TC3-HMAC-SHA256 by computing the signature again from what arrived."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

from batchkms.emulator.apierror import (
    api_error,
    bad_authorization,
    bad_content_sha256,
    missing_header,
    wrong_type,
)
from batchkms.kms.signing import (
    canonical_request,
    derive_signing_key,
    signature,
    utc_date,
)
from batchkms.kms.wire import ALGORITHM, HEADER_TIMESTAMP, HEADER_TOKEN, SERVICE

MAX_SKEW_S = 300
"""How far the client's clock may be off, either way (documentation 1150/49447)."""

_AUTHORIZATION = re.compile(
    re.escape(ALGORITHM)
    + r" +Credential=(?P<id>[^/,]*)/(?P<date>[^/,]*)/(?P<service>[^/,]*)/(?P<suffix>[^/,]*)"
    r", *SignedHeaders=(?P<headers>[^, ]*), *Signature=(?P<signature>[^, ]*)"
)
_SUFFIX = "tc3_request"
_UNSIGNED = "UNSIGNED-PAYLOAD"
_HEADER_SHA256 = "X-TC-Content-SHA256"
_MAX_CACHED_KEYS = 16

_Signed = tuple[tuple[str, str], ...]


class Verifier:
    """Verifies the requests of one account.

    `clock` gives Unix time in seconds. Two oddities of official clients are tolerated, because
    the real gateway, which is never called by an address with a port, does not meet them: a
    Host that is sent with its port and signed without it, and the first label of the host as
    the service in the credential scope (both the Node SDK).
    """

    def __init__(self, *, secret_id: str, secret_key: str, clock: Callable[[], float]) -> None:
        self._secret_keys = {secret_id: secret_key}
        self._clock = clock
        self._signing_keys: dict[tuple[str, str, str], bytes] = {}
        self._day = (-1, "")

    def verify(self, headers: Mapping[str, str], body: bytes) -> None:
        """Returns if the POST is signed as it must be. Raises ApiError.

        Order: form of the header, timestamp, scope, secret id, token, signature. Which of two
        faults the real gateway names first is not documented.
        """
        authorization = headers.get("Authorization")
        if authorization is None:
            raise missing_header("Authorization")
        match = _AUTHORIZATION.fullmatch(authorization)
        if match is None:
            raise bad_authorization()
        secret_id, date, service, suffix, signed_names, given = match.groups()
        timestamp_s = self._timestamp(headers)
        host = headers.get("Host", "")
        if suffix != _SUFFIX:
            raise bad_authorization("`Credential`")
        if date != self._date_of(timestamp_s):
            raise bad_authorization("`Date` in Credential")
        if service != SERVICE and service != host.partition(".")[0]:
            raise bad_authorization("`Service` in Credential")
        signed = _signed_headers(signed_names, headers)
        secret_key = self._secret_keys.get(secret_id)
        if secret_key is None:
            raise api_error("AuthFailure.SecretIdNotFound")
        if headers.get(HEADER_TOKEN):
            # The emulator's own credential is a permanent one, which has no token.
            raise api_error("AuthFailure.TokenFailure")
        digest = _payload_sha256(headers, body)
        scope = f"{ALGORITHM}\n{timestamp_s}\n{date}/{service}/{_SUFFIX}\n"
        signing_key = self._signing_key(secret_key, date, service)
        for variant in _variants(signed, host):
            computed = _signature(signing_key, scope, variant, digest)
            if hmac.compare_digest(computed, given.encode(errors="replace")):
                return
        raise api_error("AuthFailure.SignatureFailure")

    def _timestamp(self, headers: Mapping[str, str]) -> int:
        text = headers.get(HEADER_TIMESTAMP)
        if text is None:
            raise missing_header(HEADER_TIMESTAMP)
        if not (text.isascii() and text.isdecimal() and len(text) <= 12):
            raise wrong_type(HEADER_TIMESTAMP)
        timestamp_s = int(text)
        if abs(self._clock() - timestamp_s) > MAX_SKEW_S:
            raise api_error("AuthFailure.SignatureExpire")
        return timestamp_s

    def _date_of(self, timestamp_s: int) -> str:
        day = timestamp_s // 86_400
        if day != self._day[0]:
            self._day = (day, utc_date(timestamp_s))
        return self._day[1]

    def _signing_key(self, secret_key: str, date: str, service: str) -> bytes:
        name = (secret_key, date, service)
        signing_key = self._signing_keys.get(name)
        if signing_key is None:
            # The service may come from the Host header, so that anybody can make up new ones.
            if len(self._signing_keys) >= _MAX_CACHED_KEYS:
                self._signing_keys.clear()
            signing_key = self._signing_keys[name] = derive_signing_key(secret_key, date, service)
        return signing_key


def _signed_headers(names: str, headers: Mapping[str, str]) -> _Signed:
    """The signed headers with their values as received, in the order of their names."""
    listed = _names(names)
    values = [headers.get(name) for name in listed]
    if None in values:
        raise bad_authorization("`SignedHeaders`")
    return tuple(zip(listed, values, strict=True))  # type: ignore[arg-type]  # no None is left


@lru_cache(maxsize=64)
def _names(names: str) -> tuple[str, ...]:
    listed = names.split(";")
    if "content-type" not in listed or "host" not in listed or listed != sorted(set(listed)):
        raise bad_authorization("`SignedHeaders`")
    if names != names.lower():
        raise bad_authorization("`SignedHeaders`")
    return tuple(listed)


def _payload_sha256(headers: Mapping[str, str], body: bytes) -> str:
    declared = headers.get(_HEADER_SHA256)
    if declared == _UNSIGNED:
        return hashlib.sha256(_UNSIGNED.encode()).hexdigest()
    digest = hashlib.sha256(body).hexdigest()
    if declared is not None and declared != digest:
        raise bad_content_sha256()
    return digest


def _variants(signed: _Signed, host: str) -> Iterator[_Signed]:
    """The headers as they may have been signed: as received, then with Host without its port."""
    yield signed
    name, colon, port = host.rpartition(":")
    if colon and port.isdecimal():
        yield tuple((key, name if key == "host" else value) for key, value in signed)


def _signature(signing_key: bytes, scope: str, signed: _Signed, payload_sha256: str) -> bytes:
    try:
        canonical = _canonical_prefix(signed) + payload_sha256.encode()
    except UnicodeEncodeError:
        # A header with bytes that are no UTF-8: no client can have signed this text.
        raise api_error("AuthFailure.SignatureFailure") from None
    to_sign = scope + hashlib.sha256(canonical).hexdigest()
    return signature(signing_key, to_sign).encode()


@lru_cache(maxsize=64)
def _canonical_prefix(signed: _Signed) -> bytes:
    """The canonical request up to the hash of the body: a client sends the same one each time."""
    canonical = canonical_request(method="POST", query="", headers=list(signed), payload_sha256="")
    return canonical.encode()
