"""The bytes of an input: opened, read ahead in a thread, decompressed, freed of a BOM."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import select
import stat
import sys
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from functools import partial
from itertools import chain

from batchkms.errors import InputError
from batchkms.serialthread import SerialThread
from batchkms.sources.gunzip import GZIP_MAGIC, StreamBroken, gunzip

CHUNK_BYTES = 256 * 1024
"""So much fits a core's cache with all that is made of it."""

_CHUNKS_AHEAD = 4
_STDIN_FD = 0

_UTF8_BOM = b"\xef\xbb\xbf"
_REFUSED = {
    b"\xff\xfe": ("is UTF-16, not UTF-8", "iconv -f UTF-16 -t UTF-8"),
    b"\xfe\xff": ("is UTF-16, not UTF-8", "iconv -f UTF-16 -t UTF-8"),
    b"\xff\xfe\x00\x00": ("is UTF-32, not UTF-8", "iconv -f UTF-32 -t UTF-8"),
    b"\x00\x00\xfe\xff": ("is UTF-32, not UTF-8", "iconv -f UTF-32 -t UTF-8"),
    b"\x28\xb5\x2f\xfd": ("is compressed with zstd", "zstd -dc"),
    b"\xfd7zXZ\x00": ("is compressed with xz", "xz -dc"),
    b"BZh91AY&SY": ("is compressed with bzip2", "bzip2 -dc"),
    b"PK\x03\x04": ("is a zip archive", "unzip -p"),
    GZIP_MAGIC: ("is compressed with gzip twice", "gzip -dc"),
}
_SIGNATURES = (_UTF8_BOM, *_REFUSED)


class InputStream:
    """One input, from a path or from stdin (`-`), as chunks of bytes.

    Never written to and never locked. `size_bytes` is its size as stored, None for a pipe;
    `read_bytes` how much of that the chunks given out reach up to; `sha256` the hexadecimal
    digest of it as stored, None until the end was reached.
    """

    def __init__(self, path: str) -> None:
        """Opens it, unless that could block. Raises InputError."""
        self.name = "stdin" if path == "-" else path
        self.size_bytes: int | None = None
        self.read_bytes = 0
        self._stored_bytes = 0
        self.sha256: str | None = None
        self._path = path
        self._digest = hashlib.sha256()
        self._fd: int | None = self._stdin() if path == "-" else self._opened()
        if self._fd is not None:
            self.size_bytes = _size_bytes(self._fd)
        self._thread = SerialThread("batchkms-input", at_end=self._close)

    async def chunks(self, most_bytes: int = CHUNK_BYTES) -> AsyncGenerator[bytes, None]:
        """Yields the content in chunks of up to so much, or as they come through a pipe.

        Raises InputError before the first chunk if the input is unusable as a whole, and
        StreamBroken where it breaks off.
        """
        pieces = self._placed(_decoded(self._stored(most_bytes), self.name))
        ahead = deque(self._read_ahead(pieces) for _ in range(_CHUNKS_AHEAD))
        try:
            while (placed := await ahead.popleft()) is not None:
                ahead.append(self._read_ahead(pieces))
                chunk, self.read_bytes = placed
                yield chunk
            self.read_bytes = self._stored_bytes
            self.sha256 = self._digest.hexdigest()
        finally:
            for future in ahead:
                # Of one that failed already, it says that nobody misses the error.
                future.cancel()
            self.close()

    def close(self) -> None:
        """Stops reading. A read that blocks ends with the process, without holding it up."""
        self._thread.close()

    def _placed(self, pieces: Iterator[bytes]) -> Iterator[tuple[bytes, int]]:
        """Each piece with how much of the input as stored it reaches up to."""
        for piece in pieces:
            yield piece, self._stored_bytes

    def _read_ahead(
        self, pieces: Iterator[tuple[bytes, int]]
    ) -> asyncio.Future[tuple[bytes, int] | None]:
        return self._thread.run(partial(next, pieces, None))

    def _stdin(self) -> int:
        # Closed from the start, its number may stand for a file that was opened since.
        if sys.__stdin__ is None:
            raise _unreadable(self.name, OSError(errno.EBADF, os.strerror(errno.EBADF)))
        return _STDIN_FD

    def _opened(self) -> int | None:
        """A descriptor of a regular file; None for a FIFO or device, which is opened later."""
        try:
            mode = os.stat(self._path).st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            return os.open(self._path, os.O_RDONLY) if stat.S_ISREG(mode) else None
        except (OSError, ValueError) as error:
            raise _unreadable(self.name, error) from None

    def _stored(self, most_bytes: int) -> Iterator[bytes]:
        """The bytes as stored. Runs in the thread."""
        try:
            if self._fd is None:
                self._fd = os.open(self._path, os.O_RDONLY)
            while chunk := _read(self._fd, most_bytes):
                self._digest.update(chunk)
                self._stored_bytes += len(chunk)
                yield chunk
            if self.size_bytes is not None and self._stored_bytes < self.size_bytes:
                raise StreamBroken("the file has become shorter while it was read", changing=True)
        except OSError as error:
            if not self._stored_bytes:
                raise _unreadable(self.name, error) from None
            raise StreamBroken(f"reading failed: {error.strerror}", changing=True) from None

    def _close(self) -> None:
        if self._fd not in (None, _STDIN_FD):
            os.close(self._fd)
        self._fd = None


def _read(fd: int, most_bytes: int) -> bytes:
    while True:
        try:
            return os.read(fd, most_bytes)
        except BlockingIOError:
            # Whoever shares this pipe with us made it non-blocking.
            select.select([fd], [], [])


def _size_bytes(fd: int) -> int | None:
    try:
        status = os.fstat(fd)
    except OSError:  # A closed stdin: told when it is read.
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _unreadable(name: str, error: OSError | ValueError) -> InputError:
    hints = {
        errno.ENOENT: "check the path; - reads from stdin",
        errno.EISDIR: "name one file in it",
        errno.EACCES: "check the permissions of the file and of the folders above it",
        errno.EBADF: "stdin is closed: pipe the inventory in, or name a file",
    }
    number, text = getattr(error, "errno", None), getattr(error, "strerror", None) or str(error)
    return InputError(f"{name} cannot be read: {text}", hint=hints.get(number or 0))


def _decoded(stored: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The content: decompressed if the first bytes say gzip, and without a UTF-8 BOM."""
    signature, chunks = _sniffed(stored)
    if signature == GZIP_MAGIC:
        signature, chunks = _sniffed(gunzip(chunks))
    first = next(chunks, b"")
    chunks = chain([first], chunks)
    if signature is None and b"\0" in first[:4]:
        raise InputError(
            f"{name} is no UTF-8: it may be UTF-16 without a byte order mark",
            hint="convert it: iconv -f UTF-16LE -t UTF-8 FILE | batchkms … - --format jsonl|csv",
        )
    if signature == _UTF8_BOM:
        yield next(chunks)[len(_UTF8_BOM) :]
    elif signature is not None:
        what, command = _REFUSED[signature]
        raise InputError(
            f"{name} {what}", hint=f"convert it: {command} FILE | batchkms … - --format jsonl|csv"
        )
    yield from chunks


def _sniffed(chunks: Iterator[bytes]) -> tuple[bytes | None, Iterator[bytes]]:
    """The signature that the chunks begin with, if any, and the chunks, none lost.

    Waits for more only while what is there could still become a longer signature: the first
    short row of a slow pipe must not wait for the second one.
    """
    head = b""
    while any(len(head) < len(known) and known.startswith(head) for known in _SIGNATURES):
        if (chunk := next(chunks, None)) is None:
            break
        head += chunk
    return _signature(head), chain([head], chunks)


def _signature(head: bytes) -> bytes | None:
    if head == GZIP_MAGIC[:1]:
        return GZIP_MAGIC  # All there is of it: no text begins with this byte.
    return max((known for known in _SIGNATURES if head.startswith(known)), key=len, default=None)
