"""TC3-HMAC-SHA256 from the server's side: what was signed, and what the signature should be."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache

from batchkms.emulator.apierror import (
    api_error,
    bad_authorization,
    bad_content_sha256,
    missing_header,
)
from batchkms.emulator.calls import Call, Request
from batchkms.emulator.redaction import query_shape, shape
from batchkms.kms.signing import canonical_request, derive_signing_key, signature, utc_date
from batchkms.kms.wire import ALGORITHM, SERVICE

_AUTHORIZATION = re.compile(
    re.escape(ALGORITHM)
    + r" +Credential=(?P<id>[^/,]*)/(?P<date>[^/,]*)/(?P<service>[^/,]*)/(?P<suffix>[^/,]*)"
    r", *SignedHeaders=(?P<headers>[^, ]*), *Signature=(?P<signature>[^, ]*)"
)
_SUFFIX = "tc3_request"
_UNSIGNED = "UNSIGNED-PAYLOAD"
_HEADER_SHA256 = "X-TC-Content-SHA256"
_SHOWN_HEADERS = frozenset(("content-type", "host", "x-tc-action", "x-tc-timestamp"))

_Signed = tuple[tuple[str, str], ...]

_signing_key = lru_cache(maxsize=256)(derive_signing_key)


class Tc3Signature:
    """What a call's Authorization header claims.

    Of the parts of its Credential, `secret_id` and `timestamp` are still to be checked by others.
    """

    def __init__(self, request: Request, parts: tuple[str, ...], timestamp: str, strict: bool):
        self.secret_id, self._date, self._service, self._suffix, self._names, self.given = parts
        self.timestamp = timestamp
        self._request = request
        self._strict = strict
        self._signed: _Signed = ()

    def check_scope(self, timestamp_s: int) -> None:
        """Raises ApiError unless date, service and signed headers are such as can be."""
        if self._suffix != _SUFFIX:
            raise bad_authorization("`Credential`")
        if self._date != _date_of(timestamp_s // 86_400):
            raise bad_authorization("`Date` in Credential")
        if self._service != SERVICE and not self._is_nodes_service():
            raise bad_authorization("`Service` in Credential")
        self._signed = _signed_headers(self._names, self._request)

    def computed(self, secret_key: str) -> Iterator[bytes]:
        """The signatures that are good, the likely one first. Raises ApiError."""
        request, date = self._request, self._date
        digest = _payload_sha256(request).encode()
        key = _signing_key(secret_key, date, self._service)
        scope = f"{ALGORITHM}\n{self.timestamp}\n{date}/{self._service}/{_SUFFIX}\n"
        for signed in self._variants():
            prefix = _encoded_prefix(request, signed)
            to_sign = scope + hashlib.sha256(prefix + digest).hexdigest()
            yield signature(key, to_sign).encode()

    def shown(self) -> str:
        """The canonical request with all that could be secret replaced by its shape."""
        signed = [
            (name, value if name in _SHOWN_HEADERS else shape(value))
            for name, value in self._signed
        ]
        return canonical_request(
            method=self._request.method,
            query=query_shape(_query(self._request)),
            headers=signed,
            payload_sha256=_payload_sha256(self._request),
        )

    def _is_nodes_service(self) -> bool:
        """Node's SDK takes the first label of the endpoint for the service: `127`."""
        return not self._strict and self._service == self._request.host.partition(".")[0]

    def _variants(self) -> Iterator[_Signed]:
        """The headers as received, then with Host without its port, as Node's SDK signs it."""
        yield self._signed
        name, colon, port = self._request.host.rpartition(":")
        if colon and port.isdecimal() and not self._strict:
            yield tuple((key, name if key == "host" else value) for key, value in self._signed)


def read_tc3(call: Call, *, strict: bool) -> Tc3Signature:
    """The claim in a call's Authorization header. Raises ApiError."""
    authorization = call.request.headers.get("Authorization")
    if authorization is None:
        raise missing_header("Authorization")
    match = _AUTHORIZATION.fullmatch(authorization)
    if match is None:
        raise bad_authorization()
    return Tc3Signature(call.request, match.groups(), call.required("Timestamp"), strict)


@lru_cache(maxsize=8)
def _date_of(day: int) -> str:
    return utc_date(day * 86_400)


def _signed_headers(names: str, request: Request) -> _Signed:
    """The signed headers with their values as received, in the order of their names."""
    listed = _names(names)
    signed = []
    for name in listed:
        value = request.headers.get(name)
        if value is None:
            raise bad_authorization("`SignedHeaders`")
        signed.append((name, value))
    return tuple(signed)


@lru_cache(maxsize=64)
def _names(names: str) -> tuple[str, ...]:
    listed = names.split(";")
    if "content-type" not in listed or "host" not in listed or listed != sorted(set(listed)):
        raise bad_authorization("`SignedHeaders`")
    if names != names.lower():
        raise bad_authorization("`SignedHeaders`")
    return tuple(listed)


def _payload_sha256(request: Request) -> str:
    declared = request.headers.get(_HEADER_SHA256)
    if declared == _UNSIGNED:
        return hashlib.sha256(_UNSIGNED.encode()).hexdigest()
    body = b"" if request.method == "GET" else request.body
    digest = hashlib.sha256(body).hexdigest()
    if declared is not None and declared != digest:
        raise bad_content_sha256()
    return digest


def _query(request: Request) -> str:
    return request.query if request.method == "GET" else ""


def _encoded_prefix(request: Request, signed: _Signed) -> bytes:
    """The canonical request up to the hash of the body."""
    try:
        if request.method == "POST":
            return _post_prefix(signed)
        return _prefix(request.method, _query(request), signed)
    except UnicodeEncodeError:
        # A header with bytes that are no UTF-8: no client can have signed this text.
        raise api_error("AuthFailure.SignatureFailure") from None


@lru_cache(maxsize=64)
def _post_prefix(signed: _Signed) -> bytes:
    """That of a POST, which a client sends the same each time; a query could hold secrets."""
    return _prefix("POST", "", signed)


def _prefix(method: str, query: str, signed: _Signed) -> bytes:
    canonical = canonical_request(
        method=method, query=query, headers=list(signed), payload_sha256=""
    )
    return canonical.encode()
