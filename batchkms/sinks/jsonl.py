"""Results as JSON Lines: one object a line, empty fields left out."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from batchkms.records import Result


class JsonlSink:
    """Writes Results as JSON Lines in UTF-8."""

    format = "jsonl"

    def __init__(self, columns: tuple[str, ...] = ()) -> None:
        self.columns = columns
        self._encode = msgspec.json.Encoder().encode

    def header(self) -> bytes:
        """JSON Lines have none."""
        return b""

    def encode(self, results: Iterable[Result]) -> list[bytes]:
        """One row for each result, ended by a newline."""
        encode = self._encode
        return [
            encode(result) + b"\n" if result.kept is None else self._with_kept(result)
            for result in results
        ]

    def _with_kept(self, result: Result) -> bytes:
        kept, result.kept = result.kept, None
        try:
            row = self._encode(result)
        finally:
            result.kept = kept
        return b"%b,%b\n" % (row[:-1], self._encode(kept)[1:]) if kept else row + b"\n"
