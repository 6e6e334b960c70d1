"""What a fuzzed server sends: valid answers, wrong ones and slips, and how they are cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from batchkms.errors import ProtocolError
from batchkms.kms.http1.reading import MAX_HEAD_BYTES, AnswerReader
from tests.kms.http1.test_reading import read


class Finding(AssertionError):
    """Something happened that must not."""


class Choices:
    """Decisions that are read from bytes; all are 0 when there are none left."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def below(self, limit: int) -> int:
        """A number from 0 to below `limit`."""
        width = (limit - 1).bit_length() + 7 >> 3
        taken = self._data[self._at : self._at + width]
        self._at += width
        return int.from_bytes(taken, "big") % limit

    def one_of(self, *things: Any) -> Any:
        """One of these."""
        return things[self.below(len(things))]

    def some(self, most: int) -> bytes:
        """Up to so many bytes as they are."""
        length = self.below(most + 1)
        self._at += length
        return self._data[self._at - length : self._at]


# -- What is sent ----------------------------------------------------------------------------------

_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"


def by_length(body: bytes, *, more: bytes = b"", start: bytes = _OK) -> bytes:
    """A plain answer."""
    return start + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _in_chunks(body: bytes, size: int, *, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(one), extension, one) for one in pieces)
    return _CHUNKED + chunks + b"0\r\n" + trailers + b"\r\n"


def _head_of(size: int, body: bytes) -> bytes:
    """An answer with a head of so many bytes."""
    rest = len(by_length(body, more=b"X: \r\n")) - len(body)
    return by_length(body, more=b"X: " + b"y" * (size - rest) + b"\r\n")


VALID: dict[str, Callable[[bytes], bytes]] = {
    "by length": by_length,
    "with more headers": lambda body: by_length(body, more=b"Date: now\r\nX: \r\n"),
    "one byte a chunk": lambda body: _in_chunks(body, 1),
    "chunks": lambda body: _in_chunks(body, 7, extension=b";a=b"),
    "trailers": lambda body: _in_chunks(body, 50, trailers=b"X: y\r\nZ: \r\n"),
    "interim": lambda body: b"HTTP/1.1 103 E\r\nLink: x\r\n\r\n" + by_length(body),
    "two interim": lambda body: b"HTTP/1.1 100 C\r\n\r\n" * 2 + _in_chunks(body, 9),
    "the last": lambda body: by_length(body, more=b"Connection: close\r\n"),
    "HTTP/1.0": lambda body: by_length(body, start=b"HTTP/1.0 200 OK\r\n"),
    "an error": lambda body: by_length(body, start=b"HTTP/1.1 503 No\r\n"),
}

OTHERS: dict[str, Callable[[bytes], bytes]] = {
    "until the end": lambda body: _OK + b"\r\n" + body,
    "nothing": lambda body: b"",
    "no content": lambda body: b"HTTP/1.1 204 N\r\n\r\n" + body,
    "not modified": lambda body: b"HTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\n" + body,
    "interim only": lambda body: b"HTTP/1.1 103 E\r\n\r\n",
    "another protocol": lambda body: b"HTTP/1.1 101 S\r\n\r\n" + by_length(body),
    "folded": lambda body: by_length(body, more=b"X: a\r\n b\r\n"),
    "a folded length": lambda body: _OK + b"Content-Length:\r\n 9\r\n\r\n" + body,
    "two lengths": lambda body: by_length(body, more=b"Content-Length: 3\r\n"),
    "length and chunks": lambda body: by_length(body, more=b"Transfer-Encoding: chunked\r\n"),
    "a length too small": lambda body: by_length(body[:-3]) + body[-3:],
    "a length too large": lambda body: by_length(body + b"zzz")[:-3],
    "a length beyond all": lambda body: _OK + b"Content-Length: 99999999999\r\n\r\n" + body,
    "a chunk beyond all": lambda body: _CHUNKED + b"fffffffffffffffff\r\n" + body,
    "twice": lambda body: by_length(body) * 2,
    "chunked twice": lambda body: _in_chunks(body, 20) * 2,
    "chunked, then by length": lambda body: _in_chunks(body, 20) + by_length(body),
    "a line end before": lambda body: b"\r\n" + by_length(body),
    "no HTTP": lambda body: b"SSH-2.0-OpenSSH_9.6\r\n" + body,
}

GIGANTIC: dict[str, Callable[[bytes], bytes]] = {
    "the longest head": lambda body: _head_of(MAX_HEAD_BYTES, body),
    "a head too long": lambda body: _head_of(MAX_HEAD_BYTES + 1, body),
    "a name too long": lambda body: _OK + b"x" * 2 * MAX_HEAD_BYTES,
    "interim without end": lambda body: b"HTTP/1.1 100 C\r\n\r\n" * 4000,
    "trailers without end": lambda body: _in_chunks(body, 50, trailers=b"X: y\r\n" * 12_000),
}
"""Few of them: they take as long as a hundred others."""

_SLIPS = (
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b";", b",", b"-", b"+"),
    *(b"0", b"9", b"f", b"0\r\n\r\n", b"1\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 1"),
    *(b"Content-Length: 3\r\n", b"Content-Length: 0\r\n\r\n", b"Connection: close\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: x\r\n", b"\r\n folded", b"\xff"),
)


def _mutated(data: bytes, choices: Choices) -> bytes:
    at, length = choices.below(len(data) + 1), choices.one_of(0, 0, 1, 2, 8, 40)
    kind = choices.below(5)
    if kind == 0:
        return data[:at] + choices.some(8) + data[at + length :]
    if kind == 1:
        # Once more, or elsewhere.
        return data[:at] + data[at : at + length] + data[at:]
    if kind == 2:
        to = choices.below(len(data) + 1)
        return data[:to] + data[at : at + length] + data[to:]
    slip: bytes = choices.one_of(*_SLIPS)
    return data[:at] + slip + data[at + length :]


def settled_at(data: bytes) -> int | None:
    """How many bytes of it the client waits for: up to the end of an answer, or of its patience."""
    if not _settled(data):
        return None
    low, high = 1, len(data)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _settled(data[:middle]) else (middle + 1, high)
    return low


def _settled(data: bytes) -> bool:
    try:
        return bool(data) and AnswerReader().feed(data) is not None
    except ProtocolError:
        return True


@dataclass(slots=True)
class Recipe:
    """What a server does to one request, and its client meanwhile."""

    token: bytes
    answer: tuple[int, bytes] | None
    """What it must be taken for, if that is known."""
    pieces: list[bytes]
    turns: int
    end: str
    keep: bool
    drop_after: int | None
    clean: bool = field(default=False)

    @property
    def sure(self) -> bool:
        """Whether it must end with its answer."""
        return (
            self.answer is not None
            and self.clean
            and self.drop_after is None
            and self.end != "abort"
        )


def answer_to(token: bytes, choices: Choices) -> tuple[bytes, tuple[int, bytes] | None]:
    """An answer that carries this token; and what it must be taken for, if that is known."""
    body = b"answer to %s." % token
    kinds = GIGANTIC if choices.below(500) == 499 else choices.one_of(VALID, VALID, OTHERS)
    name = choices.one_of(*sorted(kinds))
    whole = data = kinds[name](body)
    for _ in range(choices.one_of(0, 0, 0, 1, 1, 2, 4)):
        data = _mutated(data, choices)
    if choices.below(6) == 0:
        data = data[: choices.below(len(data) + 1)]
    valid = data == whole and (kinds is VALID or name == "the longest head")
    return data, (503 if name == "an error" else 200, body) if valid else None


def check_cuts(data: bytes) -> None:
    """However an answer comes in two pieces, or byte by byte, it is the same. Raises Finding."""
    sent, _ = answer_to(b"anybody", Choices(data))
    if len(sent) > 1000:
        return
    whole = read(AnswerReader(), sent)
    ways = [[sent[:at], sent[at:]] for at in range(1, len(sent))]
    ways.append([sent[at : at + 1] for at in range(len(sent))])
    for pieces in ways:
        if read(AnswerReader(), *pieces) != whole:
            raise Finding(f"not {whole}, cut into {pieces}")


def drawn(choices: Choices, token: bytes) -> Recipe:
    """A recipe for one request that carries this token."""
    data, answer = answer_to(token, choices)
    settled = settled_at(data)
    ends = ("close", "eof", "abort")
    return Recipe(
        token=token,
        answer=answer,
        pieces=_cut(data, settled, choices),
        turns=choices.below(4),
        end=choices.one_of(*ends) if settled is None else choices.one_of(*["keep"] * 6, *ends),
        keep=choices.below(8) > 0,
        drop_after=choices.below(12) if choices.below(10) == 9 else None,
    )


def _cut(data: bytes, settled: int | None, choices: Choices) -> list[bytes]:
    # The byte that settles it comes together with all that is too much.
    last = len(data) if settled is None else settled - 1
    way = choices.below(4)
    if way == 0:
        cuts = []
    elif way == 1:
        cuts = list(range(0, last + 1, 1 if last <= 1000 else 997))
    else:
        cuts = sorted(choices.below(last + 1) for _ in range(1 + choices.below(6)))
    edges = [0, *cuts, len(data)]
    return [data[a:b] for a, b in zip(edges, edges[1:], strict=False) if b > a]
