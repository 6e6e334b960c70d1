"""How a server is verified: TLS that looks at every certificate, with both transports."""

from __future__ import annotations

import ssl

from batchkms.errors import ConfigError


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
