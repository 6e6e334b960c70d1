"""One hour's worth of calls through all that counts and keeps them, without making them.

    python -m benchmarks.loadtest_memory CALLS     # prints JSON

The calls are as different as those of a real test: two actions, failures of several codes,
request ids, latencies from microseconds to a minute.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from batchkms.loadtest.call import Call
from batchkms.loadtest.results import CallFile
from batchkms.loadtest.slo import parse_slo
from batchkms.loadtest.slowindows import Judge
from batchkms.loadtest.statistics import Statistics

SECONDS = 3_600


async def counted(calls: int, folder: str) -> Statistics:
    """Counts, judges and keeps so many calls of an hour."""
    figures = Statistics()
    judge = Judge([parse_slo("p99<50ms"), parse_slo("errors<0.1%")], 10.0)
    file = CallFile(Path(folder) / "calls.jsonl.gz", overwrite=False)
    file.begin()
    rng, chance = random.Random(7), random.Random(8).random  # noqa: S311 - no secret
    every_s = SECONDS / calls
    for number in range(calls):
        due_s = number * every_s
        sent_s = due_s + 0.0001 * chance()
        failed = chance() < 0.01
        call = Call(
            scheduled=due_s,
            sent=sent_s,
            done=sent_s + min(rng.lognormvariate(-5, 2), 60.0),
            action="encrypt" if number % 10 else "decrypt",
            outcome="throttled" if failed else "ok",
            code=f"RequestLimitExceeded.{number % 300}" if failed else None,
            bytes=1_000 + number % 500,
            request_id=f"00000000-0000-4000-8000-{number:012}",
        )
        figures.count(call)
        judge.count(call)
        file.write(call)
        if number % 2_500 == 0:
            judge.settled(due_s - 1)
            await file.flush()
    judge.finish(float(SECONDS))
    await file.abandon(None)
    return figures


def main(calls: int) -> None:
    """Counts them, and tells what that took."""
    began_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(counted(calls, folder))
    took_s = time.perf_counter() - began_s
    assert figures.calls == calls
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = {"peak_mb": peak_kib / 1024, "us_a_call": took_s / calls * 1e6}
    print(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]))
