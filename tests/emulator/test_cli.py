"""`batchkms emulator` as a process: its ready line, its signals, its refusals."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from tests.emulator.calling import b64, official, official_client

FIELDS = ["endpoint", "region", "secret_id", "secret_key", "key_id"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "batchkms", "emulator", *arguments]


def refused(*arguments: str) -> tuple[int, list[str]]:
    """Exit code and stderr of a command that must not start; stdout must be silent."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=20)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.splitlines()


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A started emulator and its ready line."""
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline()
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_tells_that_it_is_ready_serves_and_stops(
    tmp_path: Path, number: signal.Signals
) -> None:
    ready = tmp_path / "ready.json"
    ready.write_text("stale")
    arguments = ("--data-dir", str(tmp_path / "data"), "--ready-file", str(ready))
    with running(*arguments, "--region", "ap-tokyo") as (process, line):
        told = orjson.loads(line)
        assert list(told) == FIELDS
        assert told["region"] == "ap-tokyo"
        assert ready.read_text() == line
        assert stat.S_IMODE(ready.stat().st_mode) == 0o600
        with official_client(
            told["endpoint"], told["secret_id"], told["secret_key"], told["region"]
        ) as c:
            encrypted = await official(c, "Encrypt", KeyId=told["key_id"], Plaintext=b64(b"secret"))
            assert len(encrypted.CiphertextBlob) == 166
            # A connection that is still open does not keep it from stopping.
            process.send_signal(number)
            stdout, stderr = process.communicate(timeout=10)
    assert process.returncode == 0
    assert stdout == ""
    assert "Traceback" not in stderr
    assert told["secret_key"] not in stderr
    assert sorted(os.listdir(tmp_path)) == ["data", "ready.json"]


def test_the_quota_is_an_option(tmp_path: Path) -> None:
    for given in ("0", "²"):
        code, stderr = refused("--data-dir", str(tmp_path), "--rate-limit", given)
        assert code == 2
        assert "takes calls per second from 1 to 1,000,000, or none" in stderr[0]


def test_a_port_in_use_is_told_with_a_hint(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, stderr = refused("--data-dir", str(tmp_path), "--port", port)
    assert code == 2
    assert stderr == [
        f"batchkms: error: 127.0.0.1 port {port} is in use by another program",
        "batchkms: hint: choose another port, or 0 for any free one",
    ]


def test_an_address_that_others_could_reach_is_refused() -> None:
    code, stderr = refused("--host", "0.0.0.0")  # noqa: S104 - it must be refused
    assert code == 2
    assert "listens on loopback only" in stderr[0]


def test_a_ready_file_that_cannot_be_written(tmp_path: Path) -> None:
    ready = str(tmp_path / "nowhere" / "ready.json")
    code, stderr = refused("--data-dir", str(tmp_path / "data"), "--ready-file", ready)
    assert code == 2
    assert stderr[0].startswith(f"batchkms: error: the ready file {ready} cannot be written")


def test_a_ready_file_is_never_put_in_the_place_of_something_else(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code, stderr = refused("--data-dir", str(tmp_path / "data"), "--ready-file", str(pipe))
    assert code == 2
    assert stderr[0] == f"batchkms: error: the ready file {pipe} is no plain file"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
