"""Where the time of one record goes: read, queue, quota, sign, send, parse, write.

    python -m benchmarks.breakdown [ROUNDS] [--json FILE]      # default: 5

Each part is run by itself, with what is next to it replaced by something that takes next to no
time, on uvloop and pinned to one CPU: it is the CPU time of the whole process, with the threads
that read and write, for a record. The last lines are those of `batchkms encrypt --rate off` as a
whole against the stub on the other CPU; what the parts do not account for is mostly the event
loop.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import uvloop

from batchkms.engine import Batch, Engine
from batchkms.kms.client import KmsClient
from batchkms.kms.credentials import Credentials, StaticCredentials
from batchkms.kms.transport import Answer
from batchkms.operations.base import Calls, Operation
from batchkms.operations.encrypt import Encrypt
from batchkms.quota import Group, Quotas
from batchkms.records import Record, Result
from batchkms.runs.fileoutput import FileOutput
from batchkms.runs.fingerprint import InputRows
from batchkms.runs.lots import encoded
from batchkms.sinks.jsonl import JsonlSink
from batchkms.sources import open_source
from benchmarks.processes import machine, measured, server
from benchmarks.stub_kms import BLOB

ROWS, QUICK_ROWS = 20_000, 10_000
ENVIRON = {"TENCENTCLOUD_SECRET_ID": "EXAMPLE", "TENCENTCLOUD_SECRET_KEY": "example"}
KEY_ID = "benchmark"
SERVER_CPU, CLIENT_CPU = 0, 1

_BODY = (
    b'{"Response":{"CiphertextBlob":"%s","KeyId":"benchmark",'
    b'"RequestId":"00000000-0000-4000-8000-%012d"}}'
)


class _AtOnce(Operation):
    """One call a record, answered at once."""

    name = "encrypt"
    groups = (Group.CRYPT,)

    async def do(self, record: Record, calls: Calls) -> Result:
        """The Result of one call that takes no time."""
        await calls.make(Group.CRYPT, _nothing, key_id=KEY_ID)
        return _result(record)


async def _nothing() -> None:
    return None


class _Answering:
    """A transport that answers at once, and notes when it was asked and when it answered."""

    def __init__(self) -> None:
        self._numbers = count()
        self.asked_s = self.answered_s = 0.0

    async def post(self, headers: Any, body: bytes, accept: Callable[[Answer], Any]) -> Any:
        """The answer, as `accept` takes it."""
        self.asked_s = time.perf_counter()
        answer = Answer(200, _BODY % (BLOB, next(self._numbers)))
        self.answered_s = time.perf_counter()
        return accept(answer)

    async def aclose(self) -> None:
        """Has nothing to close."""


class _Sending:
    """Passes requests on to a transport, and looks at nothing of their answers."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    async def post(self, headers: Any, body: bytes) -> None:
        """Sends one request."""
        await self._transport.post(headers, body, bool)


def _record(number: int) -> Record:
    return Record(seq=number, id=f"row-{number}", plaintext=b"benchmark row %d" % number)


def _result(record: Record) -> Result:
    return Result(
        seq=record.seq,
        id=record.id,
        status="ok",
        key_id=KEY_ID,
        ciphertext=BLOB.decode(),
        request_id="00000000-0000-4000-8000-000000000000",
        attempts=1,
        latency_ms=1.234,
    )


async def _batches(rows: int) -> AsyncIterator[Batch]:
    for first in range(1, rows + 1, 256):
        yield [_record(number) for number in range(first, min(first + 256, rows + 1))]


async def read(folder: Path, endpoint: str, rows: int) -> float:
    """The input read, parsed, and its rows taken into account for a resume."""
    source = open_source(str(_inventory(folder, rows)))
    of_input = InputRows(done=_no_rows(), expected=None, most_held_bytes=None)
    began_s = time.process_time()
    async for _ in of_input.remaining(source.batches()):
        pass
    return time.process_time() - began_s


async def queue(folder: Path, endpoint: str, rows: int) -> float:
    """The engine: window, queue, workers, attempts, outbox and tally."""
    return await _engine(None, rows)


async def quota(folder: Path, endpoint: str, rows: int) -> float:
    """What a quota that is never used up adds to that."""
    return await _engine(1_000_000, rows) - await _engine(None, rows)


async def _engine(rate: int | None, rows: int) -> float:
    quotas = Quotas({Group.CRYPT: rate})
    engine = Engine(_AtOnce(), quotas=quotas)
    began_s = time.process_time()
    async with aclosing(engine.run(_batches(rows))) as lots:
        async for _ in lots:
            pass
    taken_s = time.process_time() - began_s
    await quotas.aclose()
    return taken_s


async def sign(folder: Path, endpoint: str, rows: int) -> float:
    """From the record to a signed request."""
    return (await _called(rows))[0]


async def parse(folder: Path, endpoint: str, rows: int) -> float:
    """From the answer, looked at from all sides, to the result."""
    return (await _called(rows))[1]


async def _called(rows: int) -> tuple[float, float]:
    transport = _Answering()
    credentials = StaticCredentials(Credentials("EXAMPLE", "example"))
    kms = KmsClient(region="ap-guangzhou", credentials=credentials, transport=transport)
    operation, calls = Encrypt(kms, key_id=KEY_ID), _Passed()
    signing_s = parsing_s = 0.0
    for number in range(1, rows + 1):
        record = _record(number)
        began_s = time.perf_counter()
        await operation.do(record, calls)
        parsing_s += time.perf_counter() - transport.answered_s
        signing_s += transport.asked_s - began_s
    await kms.aclose()
    return signing_s, parsing_s


class _Passed:
    """Makes each call at once."""

    async def make(
        self, group: Group, call: Callable[[], Awaitable[Any]], *, key_id: str | None = None
    ) -> Any:
        """What `call` returns."""
        return await call()


async def send(folder: Path, endpoint: str, rows: int) -> float:
    """The transport, from headers and body to the answer's bytes, 64 calls under way."""
    credentials = StaticCredentials(Credentials("EXAMPLE", "example"))
    kms = KmsClient(region="ap-guangzhou", endpoint=endpoint, credentials=credentials)
    recorded = _Recorded()
    model = KmsClient(
        region="ap-guangzhou", endpoint=endpoint, credentials=credentials, transport=recorded
    )
    await model.encrypt(KEY_ID, b"benchmark row 1")
    sending, left = _Sending(kms._transport), iter(range(rows))

    async def work() -> None:
        for _ in left:
            await sending.post(recorded.headers, recorded.body)

    began_s = time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(64):
            group.create_task(work())
    taken_s = time.process_time() - began_s
    await kms.aclose()
    return taken_s


class _Recorded(_Answering):
    """Keeps the last request."""

    headers: Any = None
    body = b""

    async def post(self, headers: Any, body: bytes, accept: Callable[[Answer], Any]) -> Any:
        """The answer, as `accept` takes it."""
        self.headers, self.body = headers, body
        return await super().post(headers, body, accept)


async def write(folder: Path, endpoint: str, rows: int) -> float:
    """Results encoded, summed up and written, synced at the end."""
    output = FileOutput(folder / f"out-{time.monotonic_ns()}", overwrite=False, fsync_interval_s=1)
    output.create()
    output.begin()
    sink, results = JsonlSink(), [_result(_record(number)) for number in range(1, rows + 1)]
    began_s = time.process_time()
    for first in range(0, rows, 64):
        await output.write(*encoded(results[first : first + 64], sink))
    await output.complete()
    taken_s = time.process_time() - began_s
    output.close()
    return taken_s


PARTS: dict[str, Callable[[Path, str, int], Awaitable[float]]] = {
    part.__name__: part for part in (read, queue, quota, sign, send, parse, write)
}


def _no_rows() -> Any:
    from batchkms.rowset import RowSet

    return RowSet()


def _inventory(folder: Path, rows: int) -> Path:
    path = folder / "inventory.jsonl"
    if not path.exists():
        with path.open("w") as file:
            file.writelines(
                f'{{"id":"row-{number}","plaintext":"benchmark row {number}"}}\n'
                for number in range(rows)
            )
    return path


def _part_us(part: str, folder: Path, endpoint: str, rows: int) -> float:
    """One part in a process of its own, in µs a record."""
    pinned = ["/usr/bin/env", "taskset", "-c", str(CLIENT_CPU), sys.executable]
    command = [
        *pinned,
        "-m",
        "benchmarks.breakdown",
        "--part",
        part,
        str(folder),
        endpoint,
        str(rows),
    ]
    _, output = measured(command, environ={})
    return float(output) / rows * 1e6


def _whole_us(folder: Path, endpoint: str, rows: int) -> tuple[float, float]:
    """The command as a whole: CPU and wall time in µs a record, its start included."""
    pinned = ["/usr/bin/env", "taskset", "-c", str(CLIENT_CPU), sys.executable]
    usage, output = measured(
        [*pinned, "-m", "batchkms", "encrypt", str(_inventory(folder, rows)), "--overwrite"]
        + ["-o", str(folder / "results.jsonl"), "--rate", "off", "--summary", "json"]
        + ["--endpoint", endpoint, "--key-id", KEY_ID, "--progress", "never"],
        environ=ENVIRON,
    )
    told = json.loads(output)
    if told["ok"] != rows:
        raise RuntimeError(f"batchkms failed: {told}")
    return usage.cpu_s / rows * 1e6, 1e6 / told["records_per_second"]


def taken(rounds: int, rows: int) -> dict[str, list[float]]:
    """Every part of every round, in µs a record."""
    made: dict[str, list[float]] = {part: [] for part in [*PARTS, "command, CPU", "command, wall"]}
    listening = server("-m", "benchmarks.stub_kms", cpu=SERVER_CPU)
    with listening as endpoint, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(rounds):
            for part in PARTS:
                made[part].append(_part_us(part, folder, endpoint, rows))
            cpu_us, wall_us = _whole_us(folder, endpoint, rows)
            made["command, CPU"].append(cpu_us)
            made["command, wall"].append(wall_us)
    return made


def table(rounds: int, rows: int = ROWS) -> tuple[str, dict[str, list[float]]]:
    """A Markdown table of the medians, and every figure."""
    made = taken(rounds, rows)
    lines = ["| part | CPU µs a record |", "|---|---|"]
    lines += [f"| {part} | {statistics.median(figures):.1f} |" for part, figures in made.items()]
    return "\n".join(lines), made


def main(rounds: int, json_path: str | None) -> None:
    """Prints the table, and keeps every figure as JSON."""
    text, made = table(rounds)
    print(f"{machine()}, {datetime.now(UTC):%Y-%m-%d}, medians of {rounds} rounds\n\n{text}")
    if json_path is not None:
        Path(json_path).write_text(json.dumps({"machine": machine(), "us_per_record": made}))


if __name__ == "__main__":
    given = sys.argv[1:]
    if given[:1] == ["--part"]:
        os.environ.update(ENVIRON)
        print(uvloop.run(PARTS[given[1]](Path(given[2]), given[3], int(given[4]))))  # type: ignore[arg-type]  # each part has its own type
    else:
        target = given[given.index("--json") + 1] if "--json" in given else None
        main(int(given[0]) if given and given[0].isdigit() else 5, target)
