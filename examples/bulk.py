"""Encrypts a few records with the library, against an emulator of its own.

python examples/bulk.py
"""

from __future__ import annotations

import asyncio
import tempfile

import batchkms


async def main() -> None:
    """Encrypts three records and decrypts them again."""
    with tempfile.TemporaryDirectory() as folder:
        async with batchkms.Emulator(data_dir=folder) as emulator:
            credentials = batchkms.Credentials(emulator.secret_id, emulator.secret_key)
            async with batchkms.KmsClient(
                region=emulator.region,
                endpoint=emulator.endpoint,
                credentials=batchkms.StaticCredentials(credentials),
            ) as kms:
                await encrypt_and_decrypt(kms, emulator.demo_key_id)


async def encrypt_and_decrypt(kms: batchkms.KmsClient, key_id: str) -> None:
    """Every record becomes one result; none is ever an exception."""
    records = (
        batchkms.Record(seq=seq, id=f"secret-{seq}", plaintext=f"example {seq}".encode())
        for seq in range(1, 4)
    )
    encrypt = batchkms.Encrypt(kms, key_id=key_id)
    async for result in batchkms.bulk(encrypt, records, rate=300):
        if result.ciphertext is None:
            print(f"{result.id}: {result.code}: {result.message}")
            continue
        decrypted = await kms.decrypt(result.ciphertext)
        print(f"{result.id}: {len(decrypted.plaintext)} bytes encrypted under {result.key_id}")


if __name__ == "__main__":
    asyncio.run(main())
