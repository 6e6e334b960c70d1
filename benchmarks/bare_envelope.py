"""The bare loop of `benchmarks.envelope`: what must be done to each row, and nothing else.

    python -m benchmarks.bare_envelope INPUT OUTPUT KEY_ID BLOB

Reads JSONL, seals each row as `docs/envelope.md` says, and writes the same result rows: one data
key for 10,000 rows, made here, whose wrapped form is always BLOB; one fsync at the end.
"""

from __future__ import annotations

import os
import sys
from base64 import b64encode

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ROWS_OF_A_KEY = 10_000
LABEL = b"batchkms/envelope/1\x00"


def main(source: str, output: str, key_id: str, blob: str) -> None:
    """One pass over the rows."""
    with open(source, "rb") as lines, open(output, "wb") as results:
        for seq, line in enumerate(lines):
            if seq % ROWS_OF_A_KEY == 0:
                key = AESGCM(os.urandom(32))
            row = orjson.loads(line)
            row_id = row["id"].encode()
            bound = LABEL + len(row_id).to_bytes(4, "big") + row_id + b"\x00"
            nonce = os.urandom(12)
            sealed = b"\x01" + nonce + key.encrypt(nonce, row["plaintext"].encode(), bound)
            result = {
                "seq": seq + 1,
                "id": row["id"],
                "status": "ok",
                "key_id": key_id,
                "ciphertext": b64encode(sealed).decode(),
                "attempts": 0,
                "mode": "envelope",
                "data_key": blob,
            }
            results.write(orjson.dumps(result) + b"\n")
        results.flush()
        os.fsync(results.fileno())


if __name__ == "__main__":
    main(*sys.argv[1:])
