"""Which operation a job asks for, and how it is made."""

from __future__ import annotations

from contextlib import AsyncExitStack

from batchkms.cli.connect import Connection, connect_source
from batchkms.job import JobSpec
from batchkms.operations.base import Operation
from batchkms.operations.decrypt import Decrypt
from batchkms.operations.encrypt import Encrypt
from batchkms.operations.envelope import Envelope
from batchkms.operations.reencrypt import Reencrypt, Transfer


def operation_class(spec: JobSpec) -> type[Operation]:
    """What is done to the rows of this job."""
    if spec.command == "encrypt":
        return Envelope if spec.envelope else Encrypt
    if spec.command == "reencrypt":
        return Transfer if spec.has_source else Reencrypt
    return Decrypt


def result_columns(spec: JobSpec) -> tuple[str, ...]:
    """The columns of the results beyond the common ones."""
    return (*operation_class(spec).columns, *(spec.keep or ()))


async def make_operation(spec: JobSpec, connection: Connection, stack: AsyncExitStack) -> Operation:
    """The operation of a job; what it opens is closed by the stack. Raises ConfigError."""
    kms, key_id = connection.kms, spec.key_id or connection.demo_key_id
    made = operation_class(spec)
    if made is Envelope:
        return Envelope(
            kms,
            key_id=key_id,
            only_oversize=spec.mode == "direct",
            data_key_rows=spec.data_key_rows,
            data_key_bytes=spec.data_key_bytes,
        )
    if made is Transfer:
        # Another endpoint alone may well lead to the same account and region.
        one_quota = (spec.source_region or spec.region, spec.source_profile or spec.profile) == (
            spec.region,
            spec.profile,
        )
        source = await connect_source(spec, stack)
        return Transfer(kms, source=source, key_id=key_id, one_quota=one_quota)
    if made is Reencrypt:
        # Without a CMK each row moves to the newest version of its own, the demo key or not.
        return Reencrypt(kms, key_id=spec.key_id)
    return Encrypt(kms, key_id=key_id) if made is Encrypt else Decrypt(kms)
