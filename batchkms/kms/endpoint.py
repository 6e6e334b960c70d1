"""Where KMS may be called: what an endpoint and a proxy must look like."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from batchkms.errors import ConfigError

_HOST = re.compile(r"[a-z0-9._:-]+")
"""What a host name or address is made of, lower-cased; anything else is a slip of the pen."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A KMS endpoint: `scheme` is http or https, `host` the Host header to send and sign."""

    scheme: str
    host: str

    @property
    def url(self) -> str:
        """The address to post to."""
        return f"{self.scheme}://{self.host}/"


def parse_endpoint(text: str) -> Endpoint:
    """The endpoint that a URL or a bare host names.

    A bare host means HTTPS. Plain HTTP is taken for loopback only: over a network, anybody on
    the way could read the plaintext. Raises ConfigError.
    """
    if "@" in text:
        # First of all, for every other message repeats the text.
        raise ConfigError(
            "the endpoint must not hold a user name or password",
            hint="credentials come from the environment, a profile or a credentials file",
        )
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _bad_endpoint(text, str(error)) from None
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host):
        raise _bad_endpoint(text, "it is no http or https URL")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _bad_endpoint(text, "it has a path; KMS is always called at /")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigError(
            f"the endpoint {text} is plain HTTP, which is allowed to loopback only",
            hint="use https://, with --ca-file if the server has a certificate of its own",
        )
    shown = f"[{host}]" if ":" in host else host
    default_port = 443 if parts.scheme == "https" else 80
    return Endpoint(parts.scheme, shown if port in (None, default_port) else f"{shown}:{port}")


def parse_proxy(text: str, *, for_endpoint: Endpoint | None = None) -> str:
    """The proxy's URL, once it can be used. Raises ConfigError.

    A request for an endpoint of plain HTTP would reach the proxy in the clear.
    """
    if not _names_proxy(text):
        # The user name and password that a proxy may need must not be repeated.
        shown = "" if "@" in text else f" {text!r}"
        raise ConfigError(
            f"--proxy{shown} is no URL of an HTTP proxy", hint="write it as http://HOST:PORT"
        )
    plain = for_endpoint is not None and for_endpoint.scheme == "http"
    if plain and not is_loopback(urlsplit(text).hostname or ""):
        raise ConfigError(
            "an endpoint of plain HTTP cannot be reached through a proxy elsewhere",
            hint="leave --proxy out, or use an https:// endpoint",
        )
    return text


def _names_proxy(text: str) -> bool:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or parts.path not in ("", "/"):
        return False
    return port != 0 and _HOST.fullmatch(host) is not None


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own loopback."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bad_endpoint(text: str, reason: str) -> ConfigError:
    return ConfigError(
        f"the endpoint {text!r} cannot be used: {reason}",
        hint="write it as https://kms.tencentcloudapi.com or http://127.0.0.1:PORT",
    )
