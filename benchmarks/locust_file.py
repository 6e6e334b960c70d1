"""A Locust user that encrypts, signing as batchkms does: the peer of `benchmarks.loadtest_peers`.

Locust itself is no dependency of ours; it has to be installed beside batchkms to run this.
"""

from __future__ import annotations

import hashlib
import time
from itertools import count
from typing import Any

from locust import constant, task
from locust.contrib.fasthttp import FastHttpUser

from batchkms.kms.signing import RequestSigner

_BODY = b'{"KeyId":"benchmark","Plaintext":"YmVuY2htYXJrIHJvdyA%06d"}'
_NUMBERS = count()
_SIGNERS: dict[str, RequestSigner] = {}


class Encrypting(FastHttpUser):  # type: ignore[misc]  # Locust has no types
    """One user: the next call when the last one has ended, the fastest client that Locust has."""

    wait_time = constant(0)

    @task  # type: ignore[untyped-decorator]  # Locust has no types
    def encrypt(self) -> None:
        """Makes one signed call."""
        body = _BODY % (next(_NUMBERS) % 1_000_000)
        host = self.host.partition("://")[2].rstrip("/")
        signer = _SIGNERS.setdefault(host, RequestSigner(host=host))
        now = int(time.time())
        digest = hashlib.sha256(body).hexdigest()
        headers: dict[str, Any] = {
            "Host": host,
            "Content-Type": "application/json",
            "X-TC-Action": "Encrypt",
            "X-TC-Version": "2019-01-18",
            "X-TC-Region": "ap-guangzhou",
            "X-TC-Timestamp": str(now),
            "Authorization": signer.authorization("EXAMPLE", "example", now, digest),
        }
        with self.client.post("/", data=body, headers=headers, catch_response=True) as answer:
            if b"CiphertextBlob" not in answer.content:
                answer.failure("no ciphertext")
