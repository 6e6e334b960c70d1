"""The transport that is used: aiohttp's.

Pooled keep-alive connections, TLS with full verification, HTTP proxies. It never follows a
redirect, keeps no cookies and reads no proxy or netrc settings from the environment.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, TypeVar

import aiohttp

from batchkms.errors import ConfigError, NetworkError, ProtocolError
from batchkms.kms.endpoint import Endpoint, parse_proxy
from batchkms.kms.transport import Answer

T = TypeVar("T")

IDLE_CONNECTION_S = 30.0
"""How long an unused connection is kept. The server closes it after 60 s (tencentcloud-sdk-go
pull request 292), and a request must not race with that."""

MAX_ANSWER_BYTES = 1024 * 1024
"""The longest answer that is read: far over any KMS answer, far under what would hurt."""


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
            raise ProtocolError("AnswerTooLong", f"the answer is over {MAX_ANSWER_BYTES:,} bytes")
    return bytes(body)


def _translated(error: Exception, timeout_s: float) -> NetworkError | ProtocolError:
    """Our error for one of aiohttp's. The order matters: aiohttp's classes overlap."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return NetworkError(
                "TlsVerificationFailed",
                f"the server's certificate was not accepted: {_reason(error.certificate_error)}",
                hint="check the endpoint's name and this machine's clock, or name the CA that "
                "signed the certificate with --ca-file",
            )
        case aiohttp.ClientSSLError():
            return NetworkError("TlsFailure", f"TLS could not be set up: {_reason(error.os_error)}")
        case aiohttp.ClientConnectorDNSError():
            return NetworkError("DnsFailure", f"the host {error.host} could not be resolved")
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return NetworkError("ProxyFailure", "the proxy could not be reached or refused")
        case aiohttp.ClientConnectorError():
            refused = isinstance(error.os_error, ConnectionRefusedError)
            return NetworkError(
                "ConnectionRefused" if refused else "ConnectFailed",
                f"no connection to {error.host} port {error.port}: {_reason(error.os_error)}",
            )
        case aiohttp.ConnectionTimeoutError():
            return NetworkError("ConnectTimeout", "no connection within the connect timeout")
        case TimeoutError():
            return NetworkError("AttemptTimeout", f"no answer within {timeout_s:g} s")
        case aiohttp.ClientResponseError():
            return ProtocolError("InvalidAnswer", "what came back is no valid HTTP answer")
    return NetworkError("ConnectionReset", "the connection was closed before the whole answer")


def _reason(error: BaseException) -> str:
    """The system's words for an error, without aiohttp's wrapping."""
    return getattr(error, "verify_message", None) or getattr(error, "strerror", None) or str(error)
