"""What is read of a manifest, with its types: one that was edited must not be half understood."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from batchkms.shard import MOST_SHARES

_COMMANDS = ("encrypt", "decrypt", "reencrypt")

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _Read(msgspec.Struct):
    rows: int
    sha256: str
    broken: bool = False


class _Input(msgspec.Struct):
    path: str
    format: str
    size_bytes: int | None = None
    head_sha256: str | None = None
    sha256: str | None = None
    read: _Read | None = None


class _Output(msgspec.Struct):
    path: str
    format: Literal["jsonl", "csv"]
    columns: list[str] = []
    overwrite: bool = False
    sha256: str | None = None
    size_bytes: int | None = None
    rows: int | None = None


class _Counts(msgspec.Struct):
    rows: _Count
    ok: _Count
    failed: _Count
    by_class: dict[str, _Count]
    by_key: dict[str, _Count]
    calls: _Count = 0
    retries: _Count = 0
    throttled: _Count = 0


class _Retrying(msgspec.Struct):
    sha256: str | None


class _Retried(msgspec.Struct):
    classes: list[str] | None = None


class _InPlace(msgspec.Struct):
    rows: int
    empty: int
    unread: int
    sha256: str | None = None
    results_sha256: str | None = None


class _Shard(msgspec.Struct):
    number: Annotated[int, msgspec.Meta(ge=1)]
    of: Annotated[int, msgspec.Meta(ge=1, le=MOST_SHARES)]
    rows: _Count
    input_rows: _Count
    calls_per_second: int | None = None


class _Window(msgspec.Struct):
    t: _Count
    calls: _Count
    ok: _Count
    failed: _Count
    throttled: _Count
    retries: _Count


class _Segment(msgspec.Struct):
    started_at: str
    window_s: Annotated[int, msgspec.Meta(ge=1)]
    windows: list[_Window]


class _Content(msgspec.Struct):
    """What is read of a manifest, with its types; there may be more in it."""

    command: str
    state: str
    input: _Input
    output: _Output
    settings: dict[str, str | int | float | bool | list[str] | None]
    ended_at: str | None = None
    exit_code: int = 0
    counts: _Counts | None = None
    retrying: _Retrying | None = None
    retried: list[_Retried] = []
    resumed: list[Any] = []
    changed: list[Any] = []
    in_place: _InPlace | None = None
    shard: _Shard | None = None
    merged: list[Any] = []
    timeline: list[_Segment] = []


def check_content(content: object) -> None:
    """Raises ValidationError unless all that is read of a manifest is there with its type."""
    known = msgspec.convert(content, _Content)
    limit = known.settings.get("limit")
    if isinstance(limit, bool) or not isinstance(limit, int | None):
        raise msgspec.ValidationError("limit")
    if known.command not in _COMMANDS or (known.state == "finished" and known.counts is None):
        raise msgspec.ValidationError("command or counts")
