"""The official SDK with threads, as its users run it.

    python -m benchmarks.official_sync ENDPOINT KEY_ID CALLS

Prints one JSON line. Credentials come from the environment. A client for each thread: the SDK's
connection is not made to be shared.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tencentcloud.common import credential
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.kms.v20190118 import kms_client, models

THREADS = 16


def _work(endpoint: str, key_id: str, numbers: range) -> int:
    given = credential.Credential(
        os.environ["TENCENTCLOUD_SECRET_ID"], os.environ["TENCENTCLOUD_SECRET_KEY"]
    )
    http = HttpProfile(endpoint=endpoint.partition("://")[2], protocol="http", keepAlive=True)
    client = kms_client.KmsClient(given, "ap-guangzhou", ClientProfile(httpProfile=http))
    ok = 0
    for number in numbers:
        request = models.EncryptRequest()
        request.KeyId = key_id
        request.Plaintext = base64.b64encode(b"benchmark row %d" % number).decode()
        ok += bool(client.Encrypt(request).CiphertextBlob)
    return ok


def main(endpoint: str, key_id: str, calls: int) -> None:
    """Makes the calls and prints what came of them."""
    began = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        shares = [range(first, calls, THREADS) for first in range(THREADS)]
        ok = sum(pool.map(lambda numbers: _work(endpoint, key_id, numbers), shares))
    wall_s = time.perf_counter() - began
    print(json.dumps({"ok": ok, "calls": calls, "wall_s": wall_s, "per_second": calls / wall_s}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
