"""The connections that a load test made: how many, and how long each took."""

from __future__ import annotations

from batchkms.kms.http1.pool import Connected
from batchkms.latency import Latencies
from batchkms.loadtest.runrecord import ConnectionsRecord


class Dials:
    """How many connections were opened, how many there were at once, and how long that took."""

    def __init__(self) -> None:
        self.opened = 0
        self.most = 0
        self.connect = Latencies()
        self.tls = Latencies()

    def connected(self, connected: Connected, open_now: int) -> None:
        """Counts one connection; with it there are `open_now`."""
        self.opened += 1
        self.most = max(self.most, open_now)
        self.connect.count(connected.connect_s)
        if connected.tls_s is not None:
            self.tls.count(connected.tls_s)

    def record(self) -> ConnectionsRecord:
        """The figures."""
        secure = self.tls.total > 0
        return ConnectionsRecord(
            opened=self.opened,
            most=self.most,
            connect_p50_ms=self.connect.percentile_ms(50),
            connect_max_ms=self.connect.max_ms,
            tls_p50_ms=self.tls.percentile_ms(50) if secure else None,
            tls_max_ms=self.tls.max_ms if secure else None,
        )
