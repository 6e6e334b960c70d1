"""Outputs of shares as their runs leave them, made without a run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from batchkms.errors import verdict_for
from batchkms.records import ErrorClass, Result
from batchkms.reporting.summary import State, exit_code
from batchkms.runs.fileoutput import FileOutput
from batchkms.runs.fingerprint import Prefix, path_text
from batchkms.runs.lots import encoded
from batchkms.runs.manifest import Manifest, manifest_path
from batchkms.shard import Shard
from batchkms.sinks import sink_of
from batchkms.tally import Tally

SETTINGS: dict[str, Any] = {"key_id": "k", "rate": 300, "reserve": "0%", "ordered": False}
INPUT: dict[str, Any] = {"path": "-", "format": "jsonl"}


def row(seq: int, code: str | None = None) -> Result:
    """A row of an output, failed with a code where one is given."""
    if code is not None:
        error_class = ErrorClass(verdict_for(code).error_class)
        failed: dict[str, Any] = {"status": "failed", "error_class": error_class, "code": code}
        return Result(seq=seq, id=str(seq), attempts=1, **failed)
    done: dict[str, Any] = {"status": "ok", "key_id": "k", "ciphertext": f"A{seq}"}
    return Result(seq=seq, id=str(seq), attempts=1, latency_ms=1.5, **done)


def share_output(
    folder: Path,
    shard: Shard,
    rows: Sequence[Result],
    *,
    of_rows: int,
    format: str = "jsonl",
    input: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    command: str = "encrypt",
) -> Path:
    """Writes one and says where it is."""
    path = folder / f"share{shard.number}.{format}"
    sink, tally = sink_of(format), Tally()
    output = FileOutput(path, overwrite=False, fsync_interval_s=1.0)
    output.create()
    manifest = Manifest(manifest_path(path))
    manifest.begin(
        command=command,
        input={**INPUT, **(input or {})},
        output={"path": path_text(str(path)), "format": format, "columns": [], "overwrite": False},
        settings={**SETTINGS, "shard": str(shard), **(settings or {})},
    )

    async def write() -> str:
        output.begin()
        if header := sink.header():
            await output.write(header)
        await output.write(*encoded(rows, sink))
        return await output.complete()

    digest = asyncio.run(write())
    for each in rows:
        tally.rows += 1
        tally.count(each)
    tally.calls = len(rows)
    manifest.note_shard(
        {"number": shard.number, "of": shard.of, "rows": len(rows), "input_rows": of_rows}
    )
    manifest.end(
        state="finished",
        exit_code=int(exit_code(tally, State.FINISHED)),
        reason=None,
        tally=tally,
        prefix=Prefix(len(rows), "0" * 64),
        input_sha256="1" * 64,
        output_sha256=digest,
        output_bytes=output.size_bytes,
        output_rows=output.rows,
    )
    output.publish()
    return path


def dealt(folder: Path, of: int, seqs: Iterable[int], **more: Any) -> list[Path]:
    """The outputs of all shares of an input of these rows."""
    numbers = [*seqs]
    return [
        share_output(
            folder,
            Shard(number, of),
            [row(seq) for seq in numbers[number - 1 :: of]],
            of_rows=len(numbers),
            **more,
        )
        for number in range(1, of + 1)
    ]
