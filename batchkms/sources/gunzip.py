"""Decompresses a gzip stream of any number of members, down to the byte where it breaks."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

GZIP_MAGIC = b"\x1f\x8b"

_GZIP_WINDOW = 31
_PIECE_BYTES = 64 * 1024
"""What is decompressed at a time: 64 KiB of input may well stand for 64 MiB."""


class StreamBroken(Exception):
    """The bytes of an input end before they should. The text says how, not where.

    `changing` says that what is stored is whole, as far as is known, and could not be read.
    """

    def __init__(self, how: str, *, changing: bool = False) -> None:
        super().__init__(how)
        self.changing = changing


def gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yields the content in pieces of at most 64 KiB.

    Raises StreamBroken for data that is cut off, corrupt or followed by something else, after
    everything before that was yielded. Zero bytes after a member are padding, as for gzip(1).
    """
    member = zlib.decompressobj(_GZIP_WINDOW)
    between = False
    for chunk in chunks:
        while chunk := chunk.lstrip(b"\0") if between else chunk:
            between = False
            before = member.copy()
            try:
                piece = member.decompress(chunk, _PIECE_BYTES)
            except zlib.error as error:
                yield from _up_to_error(before, chunk)
                raise StreamBroken(_reason(error)) from None
            if piece:
                yield piece
            chunk = member.unconsumed_tail
            if member.eof:
                chunk = member.unused_data
                member = zlib.decompressobj(_GZIP_WINDOW)
                between = True
    if not between:
        yield member.flush()
        raise StreamBroken("the gzip data is cut off")


def _up_to_error(before: zlib._Decompress, chunk: bytes) -> Iterator[bytes]:
    """What a failed call had decompressed before it failed: zlib itself throws that away."""
    try:
        for i in range(len(chunk)):
            yield before.decompress(chunk[i : i + 1])
    except zlib.error:
        return


def _reason(error: zlib.error) -> str:
    if "incorrect header check" in str(error):
        return "the gzip data is followed by something that is none"
    return "the gzip data is corrupt"
