"""Signed requests as the bytes that go over the wire, for who sends them by the ten thousand.

The client's own requests are dictionaries of headers for its HTTP library. Here nothing is made
twice that is the same in every call of an action: a load test is held up by its own CPU first.
"""

from __future__ import annotations

import re
import secrets
import string
from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import count
from typing import Literal
from urllib.parse import quote_plus, urlencode

import orjson

from batchkms._version import __version__
from batchkms.errors import ConfigError
from batchkms.kms.credentials import Credentials
from batchkms.kms.endpoint import Endpoint
from batchkms.kms.signing import RequestSigner, sha256_hex
from batchkms.kms.signing_v1 import HMAC_SHA256, SIGNATURE, signature_v1, string_to_sign_v1
from batchkms.kms.wire import (
    CONTENT_TYPE,
    FORM_CONTENT_TYPE,
    HEADER_ACTION,
    HEADER_LANGUAGE,
    HEADER_REGION,
    HEADER_TIMESTAMP,
    HEADER_TOKEN,
    HEADER_VERSION,
    VERSION,
)

SignatureMethod = Literal["tc3", "v1"]

LANGUAGE = "en-US"

_ACTION = re.compile(r"[A-Za-z0-9]{1,64}")


class SignedRequests(ABC):
    """Makes the requests of one endpoint and region; see `signed_requests`."""

    def __init__(self, endpoint: Endpoint, region: str, *, user_agent: str | None = None) -> None:
        self._host = _line("host of the endpoint", endpoint.host)
        self._region = _line("region", region)
        self._user_agent = _line("user agent", user_agent or f"batchkms/{__version__}")

    @abstractmethod
    def request(
        self,
        action: str,
        parameters: Mapping[str, str],
        credentials: Credentials,
        timestamp_s: int,
    ) -> bytes:
        """One whole HTTP request, signed for this time (Unix time).

        `action` is its name on the wire, such as `Encrypt`; `parameters` are texts by name.
        Raises ValueError for a name of an action that cannot be one.
        """

    def _head(self, content_type: str, headers: Mapping[str, str]) -> str:
        """The head of a request up to where the first header that changes is named."""
        lines = {
            "Host": self._host,
            "Content-Type": content_type,
            "User-Agent": self._user_agent,
            **headers,
        }
        return "POST / HTTP/1.1\r\n" + "".join(f"{name}: {lines[name]}\r\n" for name in lines)


class Tc3Requests(SignedRequests):
    """Requests with TC3-HMAC-SHA256: POSTs of JSON, with the headers that `KmsClient` sends."""

    def __init__(self, endpoint: Endpoint, region: str, *, user_agent: str | None = None) -> None:
        super().__init__(endpoint, region, user_agent=user_agent)
        self._signer = RequestSigner(host=endpoint.host)
        self._heads: dict[str, str] = {}

    def request(
        self,
        action: str,
        parameters: Mapping[str, str],
        credentials: Credentials,
        timestamp_s: int,
    ) -> bytes:
        """One whole HTTP request; see `SignedRequests.request`."""
        body = orjson.dumps(parameters)
        authorization = self._signer.authorization(
            credentials.secret_id, credentials.secret_key, timestamp_s, sha256_hex(body)
        )
        head = self._heads.get(action) or self._new_head(action)
        token = f"{HEADER_TOKEN}: {credentials.token}\r\n" if credentials.token else ""
        return (
            f"{head}{timestamp_s}\r\nAuthorization: {authorization}\r\n{token}"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode("ascii") + body

    def _new_head(self, action: str) -> str:
        fixed = {HEADER_VERSION: VERSION, HEADER_REGION: self._region, HEADER_LANGUAGE: LANGUAGE}
        head = self._head(CONTENT_TYPE, {**fixed, HEADER_ACTION: _action(action)})
        self._heads[action] = f"{head}{HEADER_TIMESTAMP}: "
        return self._heads[action]


class V1Requests(SignedRequests):
    """Requests with signature v1 (HmacSHA256): POSTs of a form, signature and all."""

    def __init__(self, endpoint: Endpoint, region: str, *, user_agent: str | None = None) -> None:
        super().__init__(endpoint, region, user_agent=user_agent)
        self._start = f"{self._head(FORM_CONTENT_TYPE, {})}Content-Length: "
        self._fixed = {
            "Language": LANGUAGE,
            "Region": region,
            "SignatureMethod": HMAC_SHA256,
            "Version": VERSION,
        }
        self._fixed_form = urlencode(self._fixed)
        # With the time it must not come again; so many are left that two programs do not meet.
        self._nonces = count(secrets.randbits(62) + 1)

    def request(
        self,
        action: str,
        parameters: Mapping[str, str],
        credentials: Credentials,
        timestamp_s: int,
    ) -> bytes:
        """One whole HTTP request; see `SignedRequests.request`."""
        changing = {
            **parameters,
            "Action": _action(action),
            "Nonce": str(next(self._nonces)),
            "SecretId": credentials.secret_id,
            "Timestamp": str(timestamp_s),
        }
        if credentials.token:
            changing["Token"] = credentials.token
        to_sign = string_to_sign_v1(
            method="POST", host=self._host, parameters={**self._fixed, **changing}
        )
        changing[SIGNATURE] = signature_v1(
            credentials.secret_key, to_sign, signature_method=HMAC_SHA256
        )
        form = "&".join([f"{name}={_encoded(value)}" for name, value in changing.items()])
        body = f"{self._fixed_form}&{form}"
        return f"{self._start}{len(body)}\r\n\r\n{body}".encode("ascii")


_METHODS: dict[SignatureMethod, type[SignedRequests]] = {"tc3": Tc3Requests, "v1": V1Requests}


def signed_requests(
    endpoint: Endpoint,
    region: str,
    *,
    method: SignatureMethod = "tc3",
    user_agent: str | None = None,
) -> SignedRequests:
    """What makes the requests of an endpoint and region.

    Raises ConfigError for a region or user agent that no header can carry.
    """
    return _METHODS[method](endpoint, region, user_agent=user_agent)


def _line(what: str, value: str) -> str:
    """The value, which is to stand in a header. Raises ConfigError."""
    # A line break in it would begin a header, or a request, of somebody else's making.
    if not (value and value.isascii() and value.isprintable()):
        raise ConfigError(
            f"the {what} is empty or holds a character that no header can have",
            hint="write it in ASCII, without line breaks",
        )
    return value


def _action(action: str) -> str:
    """The name of an action, which is to stand in a header. Raises ValueError."""
    if not _ACTION.fullmatch(action):
        raise ValueError("the name of an action has letters and digits only")
    return action


_SAFE = f"{string.ascii_letters}{string.digits}-_.".encode()
_BASE64 = _SAFE + b"+/="


def _encoded(value: str) -> str:
    """A value of a form, percent-encoded."""
    raw = value.encode()
    if not raw.translate(None, _SAFE):
        return value
    if raw.translate(None, _BASE64):
        return quote_plus(value)
    # Three replacements: `quote_plus` looks at each byte of a long text by itself.
    return value.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
