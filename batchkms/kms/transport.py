"""How one signed request reaches the service and its answer comes back.

A transport has one method, `post`. This one is aiohttp's: pooled keep-alive connections, TLS
with full verification, HTTP proxies. It never follows a redirect, keeps no cookies and reads
no proxy or netrc settings from the environment.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from batchkms.errors import ConfigError, NetworkError, ProtocolError
from batchkms.kms import mishaps

T = TypeVar("T")

IDLE_CONNECTION_S = 30.0
"""How long an unused connection is kept. The server closes it after 60 s (tencentcloud-sdk-go
pull request 292), and a request must not race with that."""

MAX_ANSWER_BYTES = 1024 * 1024
"""The longest answer that is read: far over any KMS answer, far under what would hurt."""


_HOST = re.compile(r"[a-z0-9._:-]+")
"""What a host name or address is made of, lower-cased; anything else is a slip of the pen."""


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer, whatever its status."""

    status: int
    body: bytes


class Transport(Protocol):
    """Carries one request to the endpoint that it was made for."""

    async def post(self, headers: dict[str, str], body: bytes, accept: Callable[[Answer], T]) -> T:
        """Sends a POST to `/`; what `accept` makes of the answer.

        `accept` is asked before the connection is used again. When it raises ProtocolError, the
        connection is closed: whatever spoke there may not be in step with what it was asked.
        Raises NetworkError when no whole answer came back, and ProtocolError when what came
        back is no HTTP or too long.
        """

    async def aclose(self) -> None:
        """Closes every connection."""


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


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """A verifying TLS context; `ca_file` adds a PEM file of CAs to the system's own.

    Raises ConfigError when the file cannot be read or holds no certificate.
    """
    # Not create_default_context: that lets SSLKEYLOGFILE write the session's keys to a file.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"--ca-file {ca_file}: no CA certificate could be read ({error})",
                hint="give a PEM file with one or more CERTIFICATE blocks",
            ) from None
    return context


class _InStepConnector(aiohttp.TCPConnector):
    """Never reuses a connection on which more came than was asked for.

    An answer too many would be taken for that of the next request: every row after it would
    get the ciphertext of another one.
    """

    async def _get(self, *arguments: Any) -> aiohttp.connector.Connection | None:
        while (connection := await super()._get(*arguments)) is not None:
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()
        return None


class AiohttpTransport:
    """The transport over aiohttp. Make it inside a running event loop."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        ca_file: str | None = None,
        proxy: str | None = None,
        connect_timeout_s: float = 3.0,
        timeout_s: float = 10.0,
    ) -> None:
        self._url = endpoint.url
        self._proxy = None if proxy is None else parse_proxy(proxy, for_endpoint=endpoint)
        self._timeout_s = timeout_s
        # Concurrency is the caller's matter: the pool must never be a second, hidden queue.
        self._session = aiohttp.ClientSession(
            connector=_InStepConnector(
                limit=0,
                keepalive_timeout=IDLE_CONNECTION_S,
                ssl=tls_context(ca_file) if endpoint.scheme == "https" else True,
            ),
            timeout=aiohttp.ClientTimeout(
                total=timeout_s, sock_connect=min(connect_timeout_s, timeout_s)
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
        )

    async def post(self, headers: dict[str, str], body: bytes, accept: Callable[[Answer], T]) -> T:
        """Sends a POST to `/`; see `Transport.post`."""
        try:
            async with self._session.post(
                self._url, data=body, headers=headers, allow_redirects=False, proxy=self._proxy
            ) as response:
                try:
                    return accept(Answer(response.status, await _read(response)))
                except ProtocolError:
                    response.close()
                    raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # Not `from error`: aiohttp's errors show the request's headers and quote the answer.
            raise _translated(error, self._timeout_s) from None

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._session.close()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise mishaps.answer_too_long(MAX_ANSWER_BYTES)
    return bytes(body)


def _bad_endpoint(text: str, reason: str) -> ConfigError:
    return ConfigError(
        f"the endpoint {text!r} cannot be used: {reason}",
        hint="write it as https://kms.tencentcloudapi.com or http://127.0.0.1:PORT",
    )


def _translated(error: Exception, timeout_s: float) -> NetworkError | ProtocolError:
    """Our error for one of aiohttp's. The order matters: aiohttp's classes overlap."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return mishaps.tls_verification_failed(error.certificate_error)
        case aiohttp.ClientSSLError():
            return mishaps.tls_failure(error.os_error)
        case aiohttp.ClientConnectorDNSError():
            return mishaps.dns_failure(error.host)
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return mishaps.proxy_failure()
        case aiohttp.ClientConnectorError():
            return mishaps.not_connected(error.host, error.port, error.os_error)
        case aiohttp.ConnectionTimeoutError():
            return mishaps.connect_timeout()
        case TimeoutError():
            return mishaps.attempt_timeout(timeout_s)
        case aiohttp.ClientResponseError():
            return mishaps.invalid_answer()
    return mishaps.connection_reset()
