"""Results as JSON Lines: one object a line, empty fields left out."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from batchkms.records import Result


class JsonlSink:
    """Writes Results as JSON Lines in UTF-8."""

    format = "jsonl"

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()

    def header(self) -> bytes:
        """JSON Lines have none."""
        return b""

    def encode(self, results: Iterable[Result]) -> list[bytes]:
        """One row for each result, ended by a newline."""
        encode = self._encoder.encode
        return [encode(result) + b"\n" for result in results]
