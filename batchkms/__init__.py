"""Bulk encryption with Tencent Cloud KMS: the public API.

    async with batchkms.KmsClient(region="ap-guangzhou") as kms:
        encrypt = batchkms.Encrypt(kms, key_id="…")
        async for result in batchkms.bulk(encrypt, records):
            …

Names are loaded when they are first used, so that the command line starts fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from batchkms._version import __version__

if TYPE_CHECKING:
    from batchkms.emulator import Emulator
    from batchkms.errors import (
        BatchKmsError,
        ConfigError,
        CredentialsError,
        KmsError,
        NetworkError,
        OutageError,
        ProtocolError,
        RunStopped,
        ServiceError,
    )
    from batchkms.kms.answers import DataKey, Decrypted, Encrypted, Reencrypted
    from batchkms.kms.client import KmsClient
    from batchkms.kms.credentials import Credentials, StaticCredentials
    from batchkms.kms.credentialsearch import find_credentials
    from batchkms.operations.decrypt import Decrypt
    from batchkms.operations.encrypt import Encrypt
    from batchkms.operations.envelope import Envelope
    from batchkms.operations.reencrypt import Reencrypt, Transfer
    from batchkms.records import ErrorClass, Record, Result
    from batchkms.retry import RetryPolicy
    from batchkms.runner import bulk

__all__ = [
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
]

_HOMES = {
    "bulk": "batchkms.runner",
    "Emulator": "batchkms.emulator",
    "BatchKmsError": "batchkms.errors",
    "ConfigError": "batchkms.errors",
    "CredentialsError": "batchkms.errors",
    "KmsError": "batchkms.errors",
    "NetworkError": "batchkms.errors",
    "OutageError": "batchkms.errors",
    "ProtocolError": "batchkms.errors",
    "RunStopped": "batchkms.errors",
    "ServiceError": "batchkms.errors",
    "DataKey": "batchkms.kms.answers",
    "Decrypted": "batchkms.kms.answers",
    "Encrypted": "batchkms.kms.answers",
    "KmsClient": "batchkms.kms.client",
    "Reencrypted": "batchkms.kms.answers",
    "Credentials": "batchkms.kms.credentials",
    "StaticCredentials": "batchkms.kms.credentials",
    "find_credentials": "batchkms.kms.credentialsearch",
    "Decrypt": "batchkms.operations.decrypt",
    "Encrypt": "batchkms.operations.encrypt",
    "Envelope": "batchkms.operations.envelope",
    "Reencrypt": "batchkms.operations.reencrypt",
    "Transfer": "batchkms.operations.reencrypt",
    "ErrorClass": "batchkms.records",
    "Record": "batchkms.records",
    "Result": "batchkms.records",
    "RetryPolicy": "batchkms.retry",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'batchkms' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
