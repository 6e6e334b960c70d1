"""Who calls: verifies a signature by computing it again from what arrived.

Both ways to sign are checked in the same order: form, timestamp, scope, secret id, token,
signature. Which of two faults the real gateway names first is not documented.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable

from batchkms.emulator.apierror import ApiError, api_error, live_looking_id, wrong_type
from batchkms.emulator.calls import Call, V1Call
from batchkms.emulator.credentials import Credential, Credentials
from batchkms.emulator.tc3 import Tc3Signature, read_tc3
from batchkms.emulator.v1 import V1Signature

MAX_SKEW_S = 300
"""How far the client's clock may be off, either way (documentation 1150/49447)."""

log = logging.getLogger("batchkms.emulator.auth")


class Verifier:
    """Verifies the requests to one emulator.

    `clock` gives Unix time in seconds. Oddities of official clients that the real gateway does
    not meet, or refuses, are tolerated unless `strict`: a Host that is sent with its port and
    signed without it, the first label of the host as the service (both the Node SDK, called by
    an address), and the Nonce 0.
    """

    def __init__(
        self, *, credentials: Credentials, clock: Callable[[], float], strict: bool = False
    ) -> None:
        self._credentials = credentials
        self._clock = clock
        self._strict = strict

    def verify(self, call: Call) -> Credential:
        """The credential that the call is signed with. Raises ApiError."""
        signed: Tc3Signature | V1Signature
        if isinstance(call, V1Call):
            signed = V1Signature(call, strict=self._strict)
        else:
            signed = read_tc3(call, strict=self._strict)
        timestamp_s = self._timestamp(call, signed.timestamp)
        signed.check_scope(timestamp_s)
        credential = self._credential(signed.secret_id)
        self._check_token(credential, call.common("Token"))
        given = signed.given.encode(errors="replace")
        for computed in signed.computed(credential.secret_key):
            if hmac.compare_digest(computed, given):
                return credential
        if log.isEnabledFor(logging.DEBUG):
            log.debug(
                "wrong signature of %s: it should be that of %r", signed.secret_id, signed.shown()
            )
        raise api_error("AuthFailure.SignatureFailure")

    def _timestamp(self, call: Call, text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) <= 12):
            raise wrong_type(call.sent_name("Timestamp"))
        timestamp_s = int(text)
        if abs(self._clock() - timestamp_s) > MAX_SKEW_S:
            raise api_error("AuthFailure.SignatureExpire")
        return timestamp_s

    def _credential(self, secret_id: str) -> Credential:
        credential = self._credentials.find(secret_id)
        if credential is None:
            raise self._unknown(secret_id)
        return credential

    def _unknown(self, secret_id: str) -> ApiError:
        if self._credentials.refuses(secret_id):
            return live_looking_id()
        return api_error("AuthFailure.SecretIdNotFound")

    def _check_token(self, credential: Credential, token: str | None) -> None:
        """Raises ApiError unless the token is that of the credential and still good."""
        known = credential.token or ""
        if not (known or token):
            return
        same = hmac.compare_digest(known.encode(), (token or "").encode(errors="replace"))
        expired = credential.expires_s is not None and self._clock() >= credential.expires_s
        if not same or expired:
            raise api_error("AuthFailure.TokenFailure")
