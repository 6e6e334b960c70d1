"""Peak memory of a run whose rows are made on the fly and come through stdin.

    python -m benchmarks.memory [ROWS …]       # default: 20,000 and 2,000,000

A run without a rate limit, against a stub that answers at once. The peak must not grow with the
number of rows.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading

from benchmarks.processes import machine, measured, server

_SECRET = "x" * 40


def main(sizes: list[int]) -> None:
    """Runs each size and prints a table."""
    print(f"stdin to file, --rate off, against a stub ({machine()})")
    with server("-m", "benchmarks.stub_kms") as endpoint, tempfile.TemporaryDirectory() as folder:
        for rows in sizes:
            _run(endpoint, folder, rows)


def _run(endpoint: str, folder: str, rows: int) -> None:
    reading, writing = os.pipe()
    feeder = threading.Thread(target=_feed, args=(writing, rows))
    feeder.start()
    usage, output = measured(
        [sys.executable, "-m", "batchkms", "encrypt", "-", "--format", "jsonl", "--overwrite"]
        + ["-o", f"{folder}/results.jsonl", "--rate", "off", "--summary", "json"]
        + ["--endpoint", endpoint, "--key-id", "benchmark", "--progress", "never"],
        environ={"TENCENTCLOUD_SECRET_ID": "EXAMPLE", "TENCENTCLOUD_SECRET_KEY": "example"},
        stdin=reading,
    )
    os.close(reading)
    feeder.join()
    summary = json.loads(output)
    with open(f"{folder}/results.jsonl", "rb") as results:
        written = sum(1 for _ in results)
    print(
        f"  {rows:>10,} rows: peak {usage.peak_bytes / 1e6:.1f} MB, {summary['ok']:,} ok, "
        f"{written:,} written, {summary['records_per_second']:,.0f} records/s, "
        f"exit code {usage.exit_code}",
        flush=True,
    )


def _feed(fd: int, rows: int) -> None:
    with os.fdopen(fd, "w", buffering=1 << 16) as pipe:
        for number in range(rows):
            pipe.write(f'{{"id":"row-{number}","plaintext":"{_SECRET}{number}"}}\n')


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [20_000, 2_000_000])
