"""Signature v1 from the server's side: what was signed, and what the signature should be."""

from __future__ import annotations

import re
from collections.abc import Iterator

from batchkms.emulator.apierror import api_error, bad_nonce
from batchkms.emulator.calls import COMMON, V1Call
from batchkms.emulator.redaction import shape
from batchkms.kms.signing_v1 import SIGNATURE, signature_v1, string_to_sign_v1

_NONCE = re.compile(r"[0-9]{1,20}", re.ASCII)
_MAX_NONCE = 2**63 - 1
_SHOWN = COMMON - {"SecretId", "Token", "Signature"}


class V1Signature:
    """What the parameters of a call claim."""

    def __init__(self, call: V1Call, *, strict: bool) -> None:
        self.timestamp = call.required("Timestamp")
        _check_nonce(call.required("Nonce"), strict=strict)
        self.secret_id = call.required("SecretId")
        self.given = call.required(SIGNATURE)
        self._call = call
        self._strict = strict

    def check_scope(self, timestamp_s: int) -> None:
        """There is none: a signature v1 is good for every service."""

    def computed(self, secret_key: str) -> Iterator[bytes]:
        """The signatures that are good, the likely one first. Raises ApiError."""
        method = self._call.common("SignatureMethod") or ""
        for host in self._hosts():
            to_sign = self._to_sign(host, self._call.pairs)
            try:
                computed = signature_v1(secret_key, to_sign, signature_method=method)
            except UnicodeEncodeError:
                # A Host with bytes that are no UTF-8: no client can have signed this text.
                raise api_error("AuthFailure.SignatureFailure") from None
            yield computed.encode()

    def shown(self) -> str:
        """The string to sign with all that could be secret replaced by its shape."""
        pairs = {
            name: value if name in _SHOWN else shape(value)
            for name, value in self._call.pairs.items()
        }
        return self._to_sign(self._call.request.host, pairs)

    def _to_sign(self, host: str, pairs: dict[str, str]) -> str:
        return string_to_sign_v1(method=self._call.request.method, host=host, parameters=pairs)

    def _hosts(self) -> Iterator[str]:
        """The host as received, then without its port, as the host of a URL may be understood."""
        host = self._call.request.host
        yield host
        name, colon, port = host.rpartition(":")
        if colon and port.isdecimal() and not self._strict:
            yield name


def _check_nonce(text: str, *, strict: bool) -> None:
    """Raises ApiError.

    The documentation asks for a positive integer. Python's SDK draws up to 63 bits; Node's
    rounds a random number below 65,535 and may well arrive at 0.
    """
    if not _NONCE.fullmatch(text) or (strict and not 1 <= int(text) <= _MAX_NONCE):
        raise bad_nonce()
