"""The transport over aiohttp, for where there is a proxy, or doubt about our own.

Pooled keep-alive connections, TLS with full verification, HTTP proxies. It never follows a
redirect, keeps no cookies and reads no proxy or netrc settings from the environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import aiohttp

from batchkms.errors import NetworkError, ProtocolError
from batchkms.kms import mishaps
from batchkms.kms import transport as shared
from batchkms.kms.endpoint import Endpoint, parse_proxy
from batchkms.kms.tls import tls_context
from batchkms.kms.transport import MAX_ANSWER_BYTES, Answer

T = TypeVar("T")


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
                keepalive_timeout=shared.IDLE_CONNECTION_S,
                ssl=tls_context(ca_file) if endpoint.scheme == "https" else True,
            ),
            timeout=aiohttp.ClientTimeout(
                total=timeout_s, sock_connect=min(connect_timeout_s, timeout_s)
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
        )

    async def post(
        self, headers: Mapping[str, str], body: bytes, accept: Callable[[Answer], T]
    ) -> T:
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
