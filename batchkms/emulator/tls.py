"""HTTPS for the emulator: a test CA of its own that clients can be told to trust, or your files.

The CA lives in the data directory: its certificate is what `--ca-file` takes, its key stays
readable by its owner only. A certificate for the server is made at every start. The CA is for
tests: never add it to a system's trust store, as whoever reads its key could pose as any site.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from batchkms.emulator.datadir import private_file, unusable
from batchkms.errors import ConfigError

CA_FILE = "emulator-ca.pem"
CA_KEY_FILE = "emulator-ca.key"
_SERVER_FILE = "emulator-server.pem"

_CA_LIFE = timedelta(days=3650)
_SERVER_LIFE = timedelta(days=397)
_EARLIER = timedelta(days=1)
"""Certificates count from the day before, for clients whose clock is behind."""

_PEM = serialization.Encoding.PEM


def given_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Serves with a certificate (chain) and key in PEM files. Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A key with a password would ask for it on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except OSError as error:  # ssl.SSLError is one.
        raise ConfigError(
            f"the certificate {certificate} with the key {key} cannot be used: "
            f"{error.strerror or error}",
            hint="give PEM files that belong together and need no password",
        ) from None
    return context


def own_context(data_dir: Path, *, names: Iterable[str] = ()) -> tuple[ssl.SSLContext, Path]:
    """Serves with a certificate of the data directory's CA; the CA's file comes with it.

    The certificate is for localhost, the loopback addresses, this machine's name and `names`,
    which are host names or addresses. Raises ConfigError.
    """
    certificate, key = _authority(data_dir)
    server_key = ec.generate_private_key(ec.SECP256R1())
    server = _server_certificate(certificate, key, server_key, names)
    chain = private_file(data_dir, f"{os.getpid()}-{_SERVER_FILE}")
    try:
        chain.write_bytes(_key_pem(server_key) + server.public_bytes(_PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
    except OSError as error:
        raise unusable(data_dir, error.strerror or str(error)) from None
    finally:
        chain.unlink(missing_ok=True)
    return context, data_dir / CA_FILE


def _authority(data_dir: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The CA of a data directory, made if there is none or if its time is nearly over."""
    certificate_file = private_file(data_dir, CA_FILE)
    key_file = private_file(data_dir, CA_KEY_FILE)
    try:
        kept, kept_key = certificate_file.read_bytes(), key_file.read_bytes()
    except OSError as error:
        raise unusable(data_dir, error.strerror or str(error)) from None
    if kept and kept_key:
        certificate, key = _parsed(data_dir, kept, kept_key)
        if certificate.not_valid_after_utc > datetime.now(UTC) + _SERVER_LIFE:
            return certificate, key
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _ca_certificate(key)
    _replace(key_file, _key_pem(key))
    _replace(certificate_file, certificate.public_bytes(_PEM))
    return certificate, key


def _parsed(
    data_dir: Path, certificate: bytes, key: bytes
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        loaded = serialization.load_pem_private_key(key, password=None)
        parsed = x509.load_pem_x509_certificate(certificate)
    except (TypeError, ValueError):
        loaded = None
    if not isinstance(loaded, ec.EllipticCurvePrivateKey) or (
        loaded.public_key() != parsed.public_key()
    ):
        raise ConfigError(
            f"the test CA in {data_dir} is damaged",
            hint=f"remove {CA_FILE} and {CA_KEY_FILE} there, and new ones are made",
        )
    return parsed, loaded


def _replace(path: Path, content: bytes) -> None:
    """Puts new content into a file at once, readable by its owner only."""
    beside = private_file(path.parent, f"{os.getpid()}-{path.name}")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise unusable(path.parent, error.strerror or str(error)) from None


def _ca_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = _name("batchkms emulator test CA (never trust it elsewhere)")
    return (
        _certificate(name, name, key.public_key(), _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _server_certificate(
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePrivateKey,
    names: Iterable[str],
) -> x509.Certificate:
    told = dict.fromkeys(("localhost", "127.0.0.1", "::1", socket.gethostname(), *names))
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        _certificate(_name("batchkms emulator"), ca.subject, key.public_key(), _SERVER_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(authority, critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(n) for n in told]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _certificate(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError:
        raise ConfigError(
            f"{name!r} is no host name for a certificate", hint="write it in ASCII"
        ) from None


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
