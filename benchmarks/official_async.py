"""The official SDK's async client, kept alive, as fast as it goes.

    python -m benchmarks.official_async ENDPOINT KEY_ID CALLS

Prints one JSON line. Credentials come from the environment.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time

from tencentcloud.common import credential
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.kms.v20190118 import models
from tencentcloud.kms.v20190118.kms_client_async import KmsClient

IN_FLIGHT = 32


async def main(endpoint: str, key_id: str, calls: int) -> None:
    """Makes the calls and prints what came of them."""
    given = credential.Credential(
        os.environ["TENCENTCLOUD_SECRET_ID"], os.environ["TENCENTCLOUD_SECRET_KEY"]
    )
    http = HttpProfile(endpoint=endpoint.partition("://")[2], protocol="http", keepAlive=True)
    client = KmsClient(given, "ap-guangzhou", ClientProfile(httpProfile=http))
    numbers = iter(range(calls))
    ok = 0

    async def work() -> None:
        nonlocal ok
        for number in numbers:
            request = models.EncryptRequest()
            request.KeyId = key_id
            request.Plaintext = base64.b64encode(b"benchmark row %d" % number).decode()
            answer = await client.Encrypt(request)
            ok += bool(answer.CiphertextBlob)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(work())
    wall_s = time.perf_counter() - began
    print(json.dumps({"ok": ok, "calls": calls, "wall_s": wall_s, "per_second": calls / wall_s}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
