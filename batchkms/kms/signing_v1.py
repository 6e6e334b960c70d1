"""Signature v1: HmacSHA1 and HmacSHA256 over the parameters of a request.

Pure functions of their arguments. The older of the two signatures of Tencent Cloud API 3.0:
whoever calls with `curl` alone or with an old client uses it. Our own client signs with TC3.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping

HMAC_SHA1 = "HmacSHA1"
HMAC_SHA256 = "HmacSHA256"
"""The only value of `SignatureMethod` that means anything; all others mean HmacSHA1."""

SIGNATURE = "Signature"
"""The one parameter that is not signed."""


def string_to_sign_v1(*, method: str, host: str, parameters: Mapping[str, str]) -> str:
    """What is signed: parameters sorted by the ASCII of their names, their values not encoded.

    `host` is as in the Host header, with its port if it has one. `InstanceIds.12` comes before
    `InstanceIds.2`: names are texts here. An underscore in a name, which no parameter of KMS
    has, would be a dot for the Python SDK and itself for the others.
    """
    pairs = (f"{name}={value}" for name, value in sorted(parameters.items()) if name != SIGNATURE)
    return f"{method}{host}/?{'&'.join(pairs)}"


def signature_v1(secret_key: str, to_sign: str, *, signature_method: str = HMAC_SHA1) -> str:
    """The signature in base64: 28 characters, or 44 with HmacSHA256."""
    digest = "sha256" if signature_method == HMAC_SHA256 else "sha1"
    return base64.b64encode(hmac.digest(secret_key.encode(), to_sign.encode(), digest)).decode()
