"""The public surface is a decision: every name in it is listed here."""

from __future__ import annotations

import subprocess
import sys

import pytest

import batchkms

PUBLIC = {
    "BatchKmsError",
    "ConfigError",
    "Credentials",
    "CredentialsError",
    "DataKey",
    "Decrypt",
    "Decrypted",
    "Emulator",
    "Encrypt",
    "Encrypted",
    "Envelope",
    "ErrorClass",
    "KmsClient",
    "KmsError",
    "NetworkError",
    "OutageError",
    "ProtocolError",
    "Record",
    "Reencrypt",
    "Reencrypted",
    "Result",
    "RetryPolicy",
    "RunStopped",
    "ServiceError",
    "StaticCredentials",
    "Transfer",
    "__version__",
    "bulk",
    "find_credentials",
}


def test_the_public_names_are_these() -> None:
    assert set(batchkms.__all__) == PUBLIC
    assert len(batchkms.__all__) == len(PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(batchkms, name)
    assert isinstance(value, str) or value.__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'encypt'"):
        _ = batchkms.encypt


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import batchkms, sys; print({'aiohttp', 'rich', 'cryptography'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("command", ["audit", "inspect", "retry", "run"])
def test_a_command_that_may_call_nothing_starts_without_aiohttp(command: str) -> None:
    code = f"import batchkms.cli.{command}, sys; print({{'aiohttp', 'rich'}} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "set()\n"
