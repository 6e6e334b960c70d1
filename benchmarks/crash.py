"""Kills a run at random moments, resumes it each time, and counts what became of every row.

    python -m benchmarks.crash [KILLS] [ROWS] [SEED] [PROCESSES]   # default: 200, 20,000, 1, 1

The emulator fails two calls in a hundred and delays others. A run is killed by SIGKILL again and
again until it ends by itself; then another one begins, until there were enough kills. At the end
of each run every row must have exactly one result, every ciphertext must decrypt to its row, and
the calls that succeeded beyond one a row may be no more than those in flight and those of one
fsync interval for each kill. Formats and kinds of input take turns. With more than one process a
kill is as often one of a process that makes calls, after which the run must end by itself with exit
code 3, and each resumed run has another number of them.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from batchkms.kms.client import KmsClient
from batchkms.kms.credentials import Credentials, StaticCredentials
from benchmarks.processes import emulator

RATE = 2_000
FSYNC_S = 0.5
IN_FLIGHT = 64
KINDS = ("jsonl", "csv", "jsonl.gz", "csv.gz")
FAULTS = (
    *("--fault", "action=Encrypt,code=InternalError,probability=0.02"),
    *("--fault", "action=Encrypt,latency=exponential:5ms,probability=0.2"),
)


def _secret(number: int) -> str:
    return f"crash row {number}, with a comma"


def _inventory(path: Path, rows: int) -> None:
    text = io.StringIO(newline="")
    if "csv" in path.name:
        table = csv.writer(text)
        table.writerow(["id", "plaintext"])
        table.writerows([f"row-{number}", _secret(number)] for number in range(1, rows + 1))
    else:
        for number in range(1, rows + 1):
            text.write(json.dumps({"id": f"row-{number}", "plaintext": _secret(number)}) + "\n")
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def _results(path: Path) -> list[dict[str, str]]:
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    return [json.loads(line) for line in path.read_text().splitlines()]


class Crash:
    """Runs, kills and checks against one emulator."""

    def __init__(
        self, server: dict[str, Any], folder: Path, *, rows: int, seed: int, processes: int
    ) -> None:
        self._processes = processes
        self._server = server
        self._folder = folder
        self._rows = rows
        self._random = random.Random(seed)  # noqa: S311 - moments, not secrets
        self.kills = 0
        self.runs = 0
        self.worst_per_kill = 0.0

    def one_run(self, kind: str, most_kills: int) -> None:
        """One run to its end, killed until it is not any more."""
        source = self._folder / f"in.{kind}"
        output = self._folder / f"out.{kind.removesuffix('.gz')}"
        _inventory(source, self._rows)
        for left in self._folder.glob("out.*"):
            left.unlink()
        before, killed = self._ok_calls(), 0
        while self._killed(source, output, may_kill=killed < most_kills):
            killed += 1
        beyond = self._ok_calls() - before - self._rows
        allowed = killed * (IN_FLIGHT + RATE * (FSYNC_S + 0.2))
        self.kills += killed
        self.runs += 1
        self._check(output)
        if beyond > allowed:
            raise SystemExit(f"{beyond} calls beyond one a row, {allowed} are allowed")
        if killed:
            self.worst_per_kill = max(self.worst_per_kill, beyond / killed)
        print(
            f"run {self.runs} ({kind}): {killed} kills, {beyond} calls beyond one a row",
            flush=True,
        )

    def _killed(self, source: Path, output: Path, *, may_kill: bool) -> bool:
        command = [sys.executable, "-m", "batchkms", "encrypt", str(source), "-o", str(output)]
        options = ["--resume", "--rate", str(RATE), "--fsync-interval", f"{FSYNC_S}s"]
        target = ["--endpoint", self._server["endpoint"], "--key-id", self._server["key_id"]]
        process = subprocess.Popen(
            [*command, *options, *target, "--progress", "never", "--processes", self._number()],
            env={
                **os.environ,
                "TENCENTCLOUD_SECRET_ID": self._server["secret_id"],
                "TENCENTCLOUD_SECRET_KEY": self._server["secret_key"],
            },
            stderr=subprocess.PIPE,
        )
        if may_kill:
            give_up = time.monotonic() + self._random.uniform(0.3, 2.0)
            while process.poll() is None and time.monotonic() < give_up:
                time.sleep(0.01)  # The moment of a kill is in real time.
        if may_kill and process.poll() is None:
            self._kill(process)
            return True
        _, told = process.communicate(timeout=300)
        if process.returncode != 0:
            raise SystemExit(f"exit code {process.returncode}: {told.decode()}")
        return False

    def _number(self) -> str:
        return str(self._random.randint(1, self._processes))

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kills the run, or one of its processes."""
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if children and self._random.random() < 0.5:
            os.kill(int(self._random.choice(children)), signal.SIGKILL)
            _, told = process.communicate(timeout=60)
            # It may have been at its end just then.
            if process.returncode not in (0, 3):
                raise SystemExit(f"exit code {process.returncode}: {told.decode()}")
        else:
            process.send_signal(signal.SIGKILL)
            process.communicate()

    def _check(self, output: Path) -> None:
        results = _results(output)
        seqs = sorted(int(row["seq"]) for row in results)
        if seqs != list(range(1, self._rows + 1)):
            raise SystemExit(f"{output}: rows are lost or twice")
        asyncio.run(self._decrypted(results))
        command = [sys.executable, "-m", "batchkms", "audit", str(output)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)

    async def _decrypted(self, results: list[dict[str, str]]) -> None:
        given = Credentials(self._server["secret_id"], self._server["secret_key"])
        remaining = iter(results)
        async with KmsClient(
            region=self._server["region"],
            endpoint=self._server["endpoint"],
            credentials=StaticCredentials(given),
        ) as kms:

            async def work() -> None:
                for row in remaining:
                    plaintext = (await kms.decrypt(row["ciphertext"])).plaintext.decode()
                    if plaintext != _secret(int(row["seq"])):
                        raise SystemExit(f"row {row['seq']} has the ciphertext of another one")

            async with asyncio.TaskGroup() as group:
                for _ in range(32):
                    group.create_task(work())

    def _ok_calls(self) -> int:
        with urllib.request.urlopen(f"{self._server['endpoint']}/_emulator/stats") as answer:  # noqa: S310 - our own loopback server
            actions = json.load(answer)["actions"]
        return int(actions.get("Encrypt", {}).get("ok", 0))


def main(kills: int, rows: int, seed: int, processes: int) -> None:
    """Runs until there were enough kills, and prints a summary."""
    with (
        tempfile.TemporaryDirectory() as name,
        emulator(name, *FAULTS, rate_limit="none") as server,
    ):
        crash = Crash(server, Path(name), rows=rows, seed=seed, processes=processes)
        while crash.kills < kills:
            crash.one_run(KINDS[crash.runs % len(KINDS)], min(12, kills - crash.kills))
    print(
        f"{crash.kills} kills in {crash.runs} runs of {rows:,} rows: no row lost or twice, every "
        f"ciphertext decrypts; at most {crash.worst_per_kill:.0f} calls beyond one a row "
        "for each kill, on average of a run"
    )


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(*(given + [200, 20_000, 1, 1][len(given) :]))
