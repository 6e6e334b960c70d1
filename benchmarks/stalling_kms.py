"""The stub KMS with a clock: it notes when each request came, and can stand still for a while.

    python -m benchmarks.stalling_kms [BEGIN_S LENGTH_S]

From BEGIN_S after the first request on it answers nothing for LENGTH_S; then what came meanwhile.
`GET /arrivals` gives the times of all requests so far, in seconds since the first one, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

import uvloop

from benchmarks.stub_kms import StubKms, serve

_arrivals: list[float] = []
_stall_s: tuple[float, float] = (0.0, 0.0)


class StallingKms(StubKms):
    """One connection of it."""

    def _answer(self, request: bytes) -> None:
        _arrivals.append(time.monotonic())
        since_s = _arrivals[-1] - _arrivals[0]
        begin_s, length_s = _stall_s
        if begin_s <= since_s < begin_s + length_s:
            left_s = begin_s + length_s - since_s
            asyncio.get_running_loop().call_later(left_s, super()._answer, request)
        else:
            super()._answer(request)

    def data_received(self, data: bytes) -> None:
        """Answers requests, and who asks when they came."""
        if data.startswith(b"GET "):
            body = json.dumps([arrival - _arrivals[0] for arrival in _arrivals]).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            if self._transport is not None:
                self._transport.write(head.encode() + body)
                self._transport.close()
            return
        super().data_received(data)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _stall_s = float(sys.argv[1]), float(sys.argv[2])
    _, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_hard, _hard))
    uvloop.run(serve(StallingKms, backlog=4_096))
