"""What a terminal and a log show of a load test."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from batchkms.loadtest.display import LoadSnapshot, sparkline

SNAPSHOT = LoadSnapshot(
    title="batchkms loadtest http://127.0.0.1:8899/",
    elapsed_s=12.0,
    total_s=60.0,
    asked_rate=300.0,
    rate_now=299.6,
    calls=3_600,
    failed={"throttled": 12, "network": 1},
    p50_ms=2.1,
    p99_ms=14.8,
    max_ms=30.0,
    send_p99_ms=9.4,
    under_way=3,
    connections=5,
    lag_ms=0.4,
    plot_ms=(1.0, 2.0, 8.0, 0.0, 4.0),
    window_s=1,
    now_s=5,
)


def shown(snapshot: LoadSnapshot, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(snapshot.rendered())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_terminal_has_all_of_it() -> None:
    text = shown(SNAPSHOT)
    for told in (
        *("0:12/1:00", "300/s sent, 300/s asked now", "ok 3,587", "failed 13", "throttled 12"),
        *(
            "network 1",
            "last 5 s: p50 2.1 · p99 14.8 · max 30.0 ms from schedule",
            "p99 9.4 ms from send",
        ),
        *("▂▃█ ▅ up to 8.0 ms", "under way 3 · connections 5 · generator lag 0.4 ms"),
    ):
        assert told in text, text


def test_nothing_is_asked_for_in_the_closed_model() -> None:
    closed = replace(SNAPSHOT, asked_rate=None, total_s=None, window_s=4)
    text = shown(closed)
    assert "asked" not in text
    assert "4 s each" in text
    assert "/1:00" not in closed.line()


def test_a_log_has_it_in_one_line() -> None:
    line = SNAPSHOT.line()
    assert "\n" not in line
    for told in (
        "300/s sent, 300/s asked now",
        "failed 13 (throttled 12, network 1)",
        "lag 0.4 ms",
    ):
        assert told in line


def test_before_anything_has_ended_there_is_nothing_to_plot() -> None:
    assert sparkline(()) == ""
    assert sparkline((0.0, 0.0)) == "  "
    assert sparkline((5.0,)) == "█"
    assert "p99" in shown(replace(SNAPSHOT, plot_ms=()))
