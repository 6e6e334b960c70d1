"""The manifest of merged shares: as that of one run of the whole input, and of what it was made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from batchkms._version import __version__
from batchkms.runs.fingerprint import path_text
from batchkms.runs.manifest import FORMAT_VERSION, counts
from batchkms.runs.shares import Share
from batchkms.tally import Tally


def running_content(shares: Sequence[Share], output: dict[str, Any]) -> dict[str, Any]:
    """What is there while rows are copied."""
    return {
        "format": FORMAT_VERSION,
        "batchkms": __version__,
        "command": shares[0].content["command"],
        "state": "running",
        "started_at": min(str(share.content.get("started_at", "")) for share in shares),
        "input": _input(shares),
        "output": output,
        "settings": _settings(shares, ordered=False),
        "merged": [_noted(share) for share in shares],
    }


def finished_content(
    shares: Sequence[Share],
    output: dict[str, Any],
    *,
    tally: Tally,
    exit_code: int,
    ordered: bool,
    timeline: list[dict[str, Any]],
) -> dict[str, Any]:
    """What is there at the end: `ended_at` is when the last share did."""
    return {
        **running_content(shares, output),
        "state": "finished",
        "settings": _settings(shares, ordered=ordered),
        "ended_at": max(str(share.content.get("ended_at", "")) for share in shares),
        "exit_code": exit_code,
        "counts": counts(tally),
        "timeline": timeline,
    }


def _input(shares: Sequence[Share]) -> dict[str, Any]:
    """The input of the first share that is a file which is there, or of the first one.

    All shares know the digest of the whole input. Without the one of the rows that were read:
    each run has that of its own rows alone.
    """
    there = (share for share in shares if os.path.isfile(share.content["input"]["path"]))
    described = next(there, shares[0]).content["input"]
    return {name: value for name, value in described.items() if name != "read"}


def _settings(shares: Sequence[Share], *, ordered: bool) -> dict[str, Any]:
    """Those of the first share, as if there had been one run.

    The first `limit` rows of each share are the first `of * limit` rows of the input.
    """
    first = shares[0]
    settings = {name: value for name, value in first.content["settings"].items() if name != "shard"}
    if first.limit is not None:
        settings["limit"] = first.limit * first.shard.of
    return {**settings, "ordered": ordered}


def _noted(share: Share) -> dict[str, Any]:
    content = share.content
    return {
        "shard": str(share.shard),
        "path": path_text(str(share.path)),
        "sha256": content["output"]["sha256"],
        "rows": share.rows,
        "input": content["input"]["path"],
        "batchkms": content.get("batchkms"),
        "started_at": content.get("started_at"),
        "ended_at": content.get("ended_at"),
        "calls_per_second": content["shard"].get("calls_per_second"),
    }
