"""One fuzzed scene on a real pool: a server that sends anything, many exchanges under way.

A scene is made from bytes, so that random ones and those of a coverage-guided fuzzer play alike,
and the same bytes play the same scene again. What a server must not do here is to send
more than an answer in a second piece: no client of HTTP/1.1 could tell that from the next answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

from batchkms.errors import ProtocolError
from batchkms.kms.endpoint import parse_endpoint
from batchkms.kms.http1.exchange import Exchange
from batchkms.kms.http1.pool import Pool
from batchkms.kms.http1.reading import MAX_HEAD_BYTES, AnswerReader
from batchkms.kms.http1.requests import request_bytes
from batchkms.kms.transport import Answer
from tests.kms.http1.test_reading import read

MOST_TURNS = 200_000
"""Of the event loop in one scene, which takes some hundred: after so many, something hangs."""

_TIMEOUT_S = 300.0
_TOKEN_BYTES = 16
_LONG = 50_000


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


def _by_length(body: bytes, *, more: bytes = b"", start: bytes = _OK) -> bytes:
    return start + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _in_chunks(body: bytes, size: int, *, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(one), extension, one) for one in pieces)
    return _CHUNKED + chunks + b"0\r\n" + trailers + b"\r\n"


def _head_of(size: int, body: bytes) -> bytes:
    """An answer with a head of so many bytes."""
    rest = len(_by_length(body, more=b"X: \r\n")) - len(body)
    return _by_length(body, more=b"X: " + b"y" * (size - rest) + b"\r\n")


VALID: dict[str, Callable[[bytes], bytes]] = {
    "by length": _by_length,
    "with more headers": lambda body: _by_length(body, more=b"Date: now\r\nX: \r\n"),
    "one byte a chunk": lambda body: _in_chunks(body, 1),
    "chunks": lambda body: _in_chunks(body, 7, extension=b";a=b"),
    "trailers": lambda body: _in_chunks(body, 50, trailers=b"X: y\r\nZ: \r\n"),
    "interim": lambda body: b"HTTP/1.1 103 E\r\nLink: x\r\n\r\n" + _by_length(body),
    "two interim": lambda body: b"HTTP/1.1 100 C\r\n\r\n" * 2 + _in_chunks(body, 9),
    "the last": lambda body: _by_length(body, more=b"Connection: close\r\n"),
    "HTTP/1.0": lambda body: _by_length(body, start=b"HTTP/1.0 200 OK\r\n"),
    "an error": lambda body: _by_length(body, start=b"HTTP/1.1 503 No\r\n"),
}

OTHERS: dict[str, Callable[[bytes], bytes]] = {
    "until the end": lambda body: _OK + b"\r\n" + body,
    "nothing": lambda body: b"",
    "no content": lambda body: b"HTTP/1.1 204 N\r\n\r\n" + body,
    "not modified": lambda body: b"HTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\n" + body,
    "interim only": lambda body: b"HTTP/1.1 103 E\r\n\r\n",
    "another protocol": lambda body: b"HTTP/1.1 101 S\r\n\r\n" + _by_length(body),
    "folded": lambda body: _by_length(body, more=b"X: a\r\n b\r\n"),
    "a folded length": lambda body: _OK + b"Content-Length:\r\n 9\r\n\r\n" + body,
    "two lengths": lambda body: _by_length(body, more=b"Content-Length: 3\r\n"),
    "length and chunks": lambda body: _by_length(body, more=b"Transfer-Encoding: chunked\r\n"),
    "a length too small": lambda body: _by_length(body[:-3]) + body[-3:],
    "a length too large": lambda body: _by_length(body + b"zzz")[:-3],
    "a length beyond all": lambda body: _OK + b"Content-Length: 99999999999\r\n\r\n" + body,
    "a chunk beyond all": lambda body: _CHUNKED + b"fffffffffffffffff\r\n" + body,
    "twice": lambda body: _by_length(body) * 2,
    "chunked twice": lambda body: _in_chunks(body, 20) * 2,
    "chunked, then by length": lambda body: _in_chunks(body, 20) + _by_length(body),
    "a line end before": lambda body: b"\r\n" + _by_length(body),
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


# -- The server ------------------------------------------------------------------------------------


class _Peer(asyncio.Protocol):
    """The server's end of one connection."""

    def __init__(self, recipes: dict[bytes, Recipe], peers: list[_Peer]) -> None:
        self._recipes = recipes
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self.dirty = self.lost = self.sending = self.over = False
        peers.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n") + 4
        if end < 4 or len(self._received) < end + _TOKEN_BYTES or self.sending or self.over:
            return
        recipe = self._recipes[self._received[end:]]
        self._received = b""
        recipe.clean = not self.dirty
        self.dirty = self.dirty or recipe.answer is None or recipe.end != "keep"
        self.sending = True
        self._next(self._steps(recipe))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def _next(self, steps: Iterator[None]) -> None:
        if next(steps, self) is None and not self.lost:
            self._loop.call_soon(self._next, steps)

    def _steps(self, recipe: Recipe) -> Iterator[None]:
        """Sends; one turn of the loop passes at each step."""
        assert self._transport is not None
        long = sum(map(len, recipe.pieces)) > _LONG
        for piece in recipe.pieces:
            # So that no piece is cut where the recipe does not.
            for _ in range(8 * long + recipe.turns):
                yield
            while self._transport.get_write_buffer_size():
                yield
            if self._transport.is_closing():
                return
            if piece is recipe.pieces[-1]:
                self.sending = recipe.end != "keep"
            self._transport.write(piece)
        self.sending = recipe.end != "keep"
        for _ in range(recipe.turns):
            yield
        self.do(recipe.end)

    def do(self, deed: str) -> None:
        """Ends the connection in one way or another, or says what nobody asked for."""
        if deed == "keep" or self._transport is None or self._transport.is_closing():
            return
        self.dirty = self.over = True
        if deed == "close":
            self._transport.close()
        elif deed == "abort":
            self._transport.abort()
        elif deed == "eof":
            # The client may have ended it just now.
            with suppress(OSError):
                self._transport.write_eof()
        else:
            self._transport.write(_by_length(b"nobody asked for this"))


# -- The scene -------------------------------------------------------------------------------------


class Scene:
    """Waves of exchanges on one pool, and between them what a server does to idle connections."""

    def __init__(self, data: bytes) -> None:
        choices = Choices(data)
        self.exchanges = self.answers = self._turns = 0
        self._most = 1 + choices.below(4)
        self._waves: list[tuple[list[Recipe], str]] = []
        self._recipes: dict[bytes, Recipe] = {}
        for _ in range(1 + choices.below(3)):
            wave = [self._drawn(choices, data) for _ in range(1 + choices.below(8))]
            deeds = ("keep", "keep", "close", "eof", "abort", "unasked")
            self._waves.append((wave, choices.one_of(*deeds)))
        self._peers: list[_Peer] = []
        self._left: list[Recipe] = []
        self._under_way = 0

    def _drawn(self, choices: Choices, data: bytes) -> Recipe:
        number = len(self._recipes)
        token = hashlib.sha256(b"%d %s" % (number, data)).hexdigest()[:_TOKEN_BYTES].encode()
        recipe = self._recipes[token] = drawn(choices, token)
        return recipe

    async def play(self) -> None:
        """Plays it. Raises Finding."""
        with _watched() as defects:
            loop = asyncio.get_running_loop()
            server = await loop.create_server(
                lambda: _Peer(self._recipes, self._peers), "127.0.0.1", 0
            )
            port = server.sockets[0].getsockname()[1]
            try:
                await self._played(port)
            finally:
                server.close()
                for peer in self._peers:
                    peer.do("abort")
            await self._until(lambda: all(peer.lost for peer in self._peers), "a connection")
        if defects:
            raise Finding(f"went wrong unseen: {defects}")

    async def _played(self, port: int) -> None:
        self._pool = pool = Pool(
            parse_endpoint(f"http://127.0.0.1:{port}"),
            max_connections=self._most,
            timeout_s=_TIMEOUT_S,
            connect_timeout_s=_TIMEOUT_S,
        )
        pool.on_room = self._more
        for wave, deed in self._waves:
            self._left = wave[::-1]
            while self._left and pool.has_room:
                self._more()
            await self._until(lambda: not (self._left or self._under_way), "an exchange")
            await self._lull(deed)
        if pool.busy or not pool.has_room:
            raise Finding("the pool keeps connections that carry nothing")
        closing = asyncio.create_task(pool.aclose())
        await self._until(closing.done, "the close")
        await closing
        if pool.open_connections:
            raise Finding("connections are open after the close")

    async def _lull(self, deed: str) -> None:
        """Nothing is asked; the server does something to its connections all the same."""
        await self._until(
            lambda: not any(peer.sending and not peer.lost for peer in self._peers), "the server"
        )
        done = [peer for peer in self._peers if not peer.lost] if deed != "keep" else []
        for peer in done:
            peer.do(deed)
        await self._until(lambda: all(peer.lost for peer in done), "an idle connection")

    async def _until(self, over: Callable[[], bool], what: str) -> None:
        while not over():
            self._turns += 1
            if self._turns > MOST_TURNS:
                raise Finding(f"{what} hangs")
            await asyncio.sleep(0)

    def _more(self) -> None:
        if not self._left or not self._pool.has_room:
            return
        recipe, ends = self._left.pop(), 0

        def on_done(exchange: Exchange) -> bool:
            nonlocal ends
            ends += 1
            self._under_way -= 1
            self._look_at(recipe, exchange, ends)
            return recipe.keep

        exchange = Exchange(lambda: request_bytes({"Host": "kms"}, recipe.token), on_done)
        self._under_way += 1
        self._pool.start(exchange)
        if recipe.drop_after is not None:
            self._drop_later(exchange, recipe.drop_after)

    def _drop_later(self, exchange: Exchange, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._drop_later, exchange, turns - 1)
        else:
            self._pool.drop(exchange)

    def _look_at(self, recipe: Recipe, exchange: Exchange, ends: int) -> None:
        self.exchanges += 1
        answer, error = exchange.answer, exchange.error
        if ends != 1 or (answer is None) == (error is None):
            raise Finding(f"{ends} ends, with {answer} and {error}")
        if error is not None and error.code not in ("ConnectionReset", *_REFUSED):
            raise Finding(f"it ended with {error.code}")
        if answer is not None:
            self.answers += 1
            self._look_whose(recipe, answer)
        if recipe.sure and (answer is None or (answer.status, answer.body) != recipe.answer):
            raise Finding(f"a valid answer came to {answer or error}: {recipe}")

    def _look_whose(self, recipe: Recipe, answer: Answer) -> None:
        if b"nobody" in answer.body:
            raise Finding(f"what nobody asked for was taken for an answer: {recipe}")
        for token in self._recipes:
            if token != recipe.token and token in answer.body:
                raise Finding(f"the answer to another request was taken: {recipe}")


_REFUSED = ("InvalidAnswer", "AnswerTooLong")


@contextmanager
def _watched() -> Iterator[list[object]]:
    """What neither an exchange nor a scene tells: it went to the loop, or to the interpreter."""
    defects: list[object] = []
    loop, hook = asyncio.get_running_loop(), sys.unraisablehook
    loop.set_exception_handler(lambda _, context: defects.append(context))
    sys.unraisablehook = defects.append
    try:
        yield defects
    finally:
        sys.unraisablehook = hook
