"""The errors of a call that got no valid answer: the same words whichever transport carried it."""

from __future__ import annotations

import ssl

from batchkms.errors import NetworkError, ProtocolError


def tls_verification_failed(error: BaseException) -> NetworkError:
    """The certificate is not to be trusted; `error` is what OpenSSL said."""
    return NetworkError(
        "TlsVerificationFailed",
        f"the server's certificate was not accepted: {_reason(error)}",
        hint="check the endpoint's name and this machine's clock, or name the CA that "
        "signed the certificate with --ca-file",
    )


def tls_failure(error: BaseException) -> NetworkError:
    """The handshake failed for another reason than the certificate."""
    return NetworkError("TlsFailure", f"TLS could not be set up: {_reason(error)}")


def dns_failure(host: str) -> NetworkError:
    """The name has no address, or the resolver gave none."""
    return NetworkError("DnsFailure", f"the host {host} could not be resolved")


def proxy_failure() -> NetworkError:
    """The way to the endpoint ends at the proxy."""
    return NetworkError("ProxyFailure", "the proxy could not be reached or refused")


def not_connected(host: str, port: int | None, error: BaseException) -> NetworkError:
    """The system could not connect; `error` is its error."""
    refused = isinstance(error, ConnectionRefusedError)
    return NetworkError(
        "ConnectionRefused" if refused else "ConnectFailed",
        f"no connection to {host} port {port}: {_reason(error)}",
    )


def connecting_failed(host: str, port: int, error: OSError) -> NetworkError:
    """Whatever went wrong between looking at the address and the end of the handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return tls_verification_failed(error)
    if isinstance(error, ssl.SSLError):
        return tls_failure(error)
    return not_connected(host, port, error)


def connect_timeout() -> NetworkError:
    """Nothing was sent yet."""
    return NetworkError("ConnectTimeout", "no connection within the connect timeout")


def attempt_timeout(timeout_s: float) -> NetworkError:
    """The request may have arrived all the same."""
    return NetworkError("AttemptTimeout", f"no answer within {timeout_s:g} s")


def connection_reset() -> NetworkError:
    """The connection ended, at either end, before the answer was whole."""
    return NetworkError("ConnectionReset", "the connection was closed before the whole answer")


def invalid_answer() -> ProtocolError:
    """No word of what came back: it may quote the request."""
    return ProtocolError("InvalidAnswer", "what came back is no valid HTTP answer")


def answer_too_long(limit_bytes: int) -> ProtocolError:
    """The body goes on beyond what is read."""
    return ProtocolError("AnswerTooLong", f"the answer is over {limit_bytes:,} bytes")


def _reason(error: BaseException) -> str:
    """The system's words for an error, without a library's wrapping."""
    return getattr(error, "verify_message", None) or getattr(error, "strerror", None) or str(error)
