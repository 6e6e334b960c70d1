"""What a request asks for, whichever of the two ways it is written and signed.

With TC3 the common parameters are headers (`X-TC-Action`), and those of the action are a JSON
body or, for GET, the query. With signature v1 all of them are in the query or in a form.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import msgspec

from batchkms.emulator.apierror import (
    ApiError,
    api_error,
    missing_header,
    missing_parameter,
    too_large_for_v1,
)
from batchkms.emulator.forms import read_form, typed_parameters
from batchkms.emulator.parameters import ParameterTable
from batchkms.emulator.texts import ENGLISH
from batchkms.kms.wire import CONTENT_TYPE, FORM_CONTENT_TYPE

MAX_GET_CHARS = 32 * 1024
MAX_V1_BYTES = 1024 * 1024
"""The longest query and the largest form that the gateway takes (documentation 1278/46710)."""

COMMON = frozenset(
    (
        "Action",
        "Language",
        "Nonce",
        "Region",
        "RequestClient",
        "SecretId",
        "Signature",
        "SignatureMethod",
        "Timestamp",
        "Token",
        "Version",
    )
)
"""Parameters of signature v1 that belong to the gateway and not to the action."""


class Request(msgspec.Struct, frozen=True):
    """A request as it arrived. `query` is what follows the `?`, not decoded."""

    method: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def host(self) -> str:
        """The Host header; tccli sends one with a scheme in it."""
        return self.headers.get("Host", "")


class Call(ABC):
    """A request, read as one of the two ways says."""

    def __init__(self, request: Request) -> None:
        self.request = request

    @abstractmethod
    def common(self, name: str) -> str | None:
        """A common parameter, by the name that it has in signature v1."""

    @abstractmethod
    def sent_name(self, name: str) -> str:
        """What a common parameter is called in this way of writing."""

    @abstractmethod
    def missing(self, name: str) -> ApiError:
        """The error for a common parameter that is not there."""

    @abstractmethod
    def parameters(self, table: ParameterTable) -> dict[str, Any]:
        """The parameters of the action, checked. Raises ApiError."""

    def required(self, name: str) -> str:
        """A common parameter that has to be there. Raises ApiError."""
        value = self.common(name)
        if value is None:
            raise self.missing(name)
        return value

    @property
    def action(self) -> str:
        """The action that is named, or the empty text."""
        return self.common("Action") or ""

    @property
    def language(self) -> str:
        """The language to tell errors in."""
        return self.common("Language") or ENGLISH


class Tc3Call(Call):
    """A call with TC3-HMAC-SHA256: a POST of JSON, or a GET."""

    def common(self, name: str) -> str | None:
        """A common parameter, from its header."""
        return self.request.headers.get("X-TC-" + name)

    def sent_name(self, name: str) -> str:
        """The header's name."""
        return "X-TC-" + name

    def missing(self, name: str) -> ApiError:
        """The error for a header that is not there."""
        # The gateway calls a missing region by its plain name, whichever way the call is made.
        return missing_parameter(name) if name == "Region" else missing_header("X-TC-" + name)

    def parameters(self, table: ParameterTable) -> dict[str, Any]:
        """The parameters of the action, checked. Raises ApiError."""
        if self.request.method == "GET":
            return typed_parameters(read_form(self.request.query), table)
        return table.read(self.request.body)


class V1Call(Call):
    """A call with signature v1. `pairs` are all its parameters, the common ones too."""

    def __init__(self, request: Request, pairs: dict[str, str]) -> None:
        super().__init__(request)
        self.pairs = pairs

    def common(self, name: str) -> str | None:
        """A common parameter, from among all the others."""
        return self.pairs.get(name)

    def sent_name(self, name: str) -> str:
        """The plain name."""
        return name

    def missing(self, name: str) -> ApiError:
        """The error for a parameter that is not there."""
        return missing_parameter(name)

    def parameters(self, table: ParameterTable) -> dict[str, Any]:
        """The parameters of the action, checked. Raises ApiError."""
        own = {name: value for name, value in self.pairs.items() if name not in COMMON}
        return typed_parameters(own, table)


def read_call(request: Request) -> Call:
    """Which way a request is written, and its common parameters. Raises ApiError.

    An Authorization header means TC3, for the GET and the POST alike; without one a GET or a
    form is signature v1, and a POST of JSON is a TC3 call that lacks its signature.
    """
    media_type = _media_type(request)
    signed_in_header = "Authorization" in request.headers
    if request.method == "POST":
        if media_type is None:
            raise missing_header("Content-Type")
        if media_type == CONTENT_TYPE:
            return Tc3Call(request)
        if media_type == FORM_CONTENT_TYPE and not signed_in_header:
            return _v1_post(request)
    elif request.method == "GET":
        return _tc3_get(request, media_type) if signed_in_header else _v1_get(request)
    raise api_error("UnsupportedProtocol")


def _media_type(request: Request) -> str | None:
    content_type = request.headers.get("Content-Type")
    if content_type is None or content_type == CONTENT_TYPE:
        return content_type
    return content_type.partition(";")[0].strip().lower()


def _tc3_get(request: Request, media_type: str | None) -> Call:
    if media_type is None:
        raise missing_header("Content-Type")
    if media_type != FORM_CONTENT_TYPE:
        raise api_error("UnsupportedProtocol")
    if len(request.query) > MAX_GET_CHARS:
        raise api_error("RequestSizeLimitExceeded")
    return Tc3Call(request)


def _v1_get(request: Request) -> Call:
    # Node's SDK sends no Content-Type here, and whatever is sent means nothing.
    if len(request.query) > MAX_GET_CHARS:
        raise too_large_for_v1()
    return V1Call(request, read_form(request.query))


def _v1_post(request: Request) -> Call:
    if len(request.body) > MAX_V1_BYTES:
        raise too_large_for_v1()
    return V1Call(request, read_form(request.body.decode(errors="replace")))
