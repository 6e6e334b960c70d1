"""One thread for blocking calls: order, outcomes, closing, and an end that waits for nobody."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import weakref
from functools import partial

import pytest

from batchkms.serialthread import SerialThread

NAME = "test-serial"


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == NAME]


async def _ended() -> None:
    for thread in _threads():
        await asyncio.to_thread(thread.join, 10)
    assert not _threads()


async def test_calls_run_in_order_and_never_two_at_once() -> None:
    serial = SerialThread(NAME)
    order: list[int] = []
    running = threading.Lock()

    def call(number: int) -> int:
        assert running.acquire(blocking=False), "another call runs at the same time"
        order.append(number)
        running.release()
        return number

    futures = [serial.run(partial(call, number)) for number in range(500)]
    assert await asyncio.gather(*futures) == [*range(500)]
    assert order == [*range(500)]
    serial.close()
    await _ended()


async def test_calls_run_off_the_loop_in_one_thread() -> None:
    serial = SerialThread(NAME)
    seen = {await serial.run(threading.get_ident) for _ in range(20)}
    assert len(seen) == 1
    assert threading.get_ident() not in seen
    serial.close()
    await _ended()


@pytest.mark.parametrize("error", [OSError("broken"), KeyError("k"), SystemExit(3)])
async def test_an_error_is_the_outcome_of_its_call_alone(error: BaseException) -> None:
    serial = SerialThread(NAME)

    def fail() -> None:
        raise error

    failing, after = serial.run(fail), serial.run(lambda: "after")
    # SystemExit would end the loop if a task of it ended with one: the future only carries it.
    (outcome,) = (await asyncio.wait([failing]))[0]
    assert outcome.exception() is error
    assert await after == "after"
    serial.close()
    await _ended()


async def test_a_call_cancelled_before_its_turn_is_not_run() -> None:
    serial = SerialThread(NAME)
    go = threading.Event()
    ran: list[str] = []
    first = serial.run(lambda: go.wait(10))
    dropped = serial.run(lambda: ran.append("dropped"))
    last = serial.run(lambda: ran.append("last"))
    dropped.cancel()
    go.set()
    assert await first
    await last
    assert ran == ["last"]
    serial.close()
    await _ended()


@pytest.mark.parametrize("error", [None, OSError("nobody waits for this")])
async def test_a_call_cancelled_while_it_runs_ends_by_itself(error: OSError | None) -> None:
    serial = SerialThread(NAME)
    begun, go = threading.Event(), threading.Event()
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))

    def call() -> None:
        begun.set()
        go.wait(10)
        if error is not None:
            raise error

    running = serial.run(call)
    await asyncio.to_thread(begun.wait, 10)
    running.cancel()
    go.set()
    assert await serial.run(lambda: "next") == "next"
    assert running.cancelled()
    assert complaints == []
    serial.close()
    await _ended()


async def test_close_drops_what_waits_and_runs_the_end_once_in_the_thread() -> None:
    ends: list[int] = []
    serial = SerialThread(NAME, at_end=lambda: ends.append(threading.get_ident()))
    begun, go = threading.Event(), threading.Event()
    ran: list[str] = []

    def call() -> int:
        begun.set()
        go.wait(10)
        return threading.get_ident()

    running = serial.run(call)
    waiting = serial.run(lambda: ran.append("waiting"))
    await asyncio.to_thread(begun.wait, 10)
    serial.close()
    serial.close()
    assert ends == []  # The end must not pull the file from under the call that runs.
    go.set()
    thread = await running
    await _ended()
    assert ends == [thread]
    assert ran == []
    assert not waiting.done()
    with pytest.raises(RuntimeError, match="test-serial is closed"):
        serial.run(lambda: None)


async def test_closed_before_the_first_call_it_never_starts_a_thread() -> None:
    ends: list[int] = []
    serial = SerialThread(NAME, at_end=lambda: ends.append(threading.get_ident()))
    serial.close()
    serial.close()
    assert ends == [threading.get_ident()]
    assert not _threads()


async def test_values_are_let_go_of_while_no_call_waits() -> None:
    class Large:
        pass

    gone = threading.Event()

    def make() -> Large:
        large = Large()
        weakref.finalize(large, gone.set)
        return large

    serial = SerialThread(NAME)
    await serial.run(make)
    assert await asyncio.to_thread(gone.wait, 10)
    serial.close()
    await _ended()


def test_a_loop_that_is_gone_ends_the_thread() -> None:
    ends: list[str] = []
    go = threading.Event()

    async def leave() -> None:
        serial = SerialThread(NAME, at_end=lambda: ends.append("end"))
        serial.run(lambda: go.wait(10))

    asyncio.run(leave())
    go.set()
    for thread in _threads():
        thread.join(10)
    assert ends == ["end"]


_BLOCKED = """
import asyncio, os, sys
from batchkms.serialthread import SerialThread

async def main():
    reading, writing = os.pipe()
    serial = SerialThread("blocked")
    future = serial.run(lambda: os.read(reading, 1))
    await asyncio.sleep(0.05)
    {then}
    print("main is done", flush=True)

asyncio.run(main())
sys.exit(7)
"""


@pytest.mark.parametrize("then", ["serial.close()", "pass", "future.cancel()"])
def test_a_read_that_blocks_for_ever_does_not_hold_up_the_exit(then: str) -> None:
    program = [sys.executable, "-W", "error", "-c", _BLOCKED.format(then=then)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "main is done\n", "")


_SILENT_STDIN = """
import asyncio
from batchkms.sources import open_source

async def main():
    source = open_source("-", format="jsonl")
    try:
        await asyncio.wait_for(anext(aiter(source.batches())), 0.05)
    except TimeoutError:
        print("gave up", flush=True)
    await source.aclose()

asyncio.run(main())
"""


def test_a_silent_stdin_does_not_hold_up_the_exit() -> None:
    program = [sys.executable, "-W", "error", "-c", _SILENT_STDIN]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        # Its stdin stays open and silent until it has ended.
        assert process.wait(20) == 0
        assert process.stdout is not None
        assert process.stdout.read() == b"gave up\n"
