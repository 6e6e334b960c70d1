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
from typing import cast

from batchkms.kms.endpoint import parse_endpoint
from batchkms.kms.http1.pool import Pool
from batchkms.kms.http1.requests import request_bytes
from batchkms.kms.transport import Answer
from tests.kms.http1.fuzzedanswers import Choices, Finding, Recipe, by_length, drawn
from tests.kms.http1.pools import Exchange

MOST_TURNS = 200_000
"""Of the event loop in one scene, which takes some hundred: after so many, something hangs."""

_TIMEOUT_S = 300.0
TOKEN_BYTES = 16
_LONG = 50_000


# -- The server ------------------------------------------------------------------------------------


class _Peer(asyncio.Protocol):
    """The server's end of one connection."""

    def __init__(self, recipes: dict[bytes, Recipe], peers: list[_Peer]) -> None:
        self._recipes = recipes
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self.dirty = self.lost = self.sending = self.over = self.said_eof = False
        peers.append(self)

    @property
    def made(self) -> bool:
        """Whether it ever was a connection."""
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n") + 4
        if end < 4 or len(self._received) < end + TOKEN_BYTES or self.sending or self.over:
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
            if self._transport.is_closing() or self.said_eof:
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
            self.said_eof = True
            # The client may have ended it just now.
            with suppress(OSError):
                self._transport.write_eof()
        else:
            self._transport.write(by_length(b"nobody asked for this"))


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
        token = hashlib.sha256(b"%d %s" % (number, data)).hexdigest()[:TOKEN_BYTES].encode()
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
            except Finding:
                await self._pool.aclose()
                raise
            finally:
                # Of a server that was just closed, asyncio leaves open what it had just accepted.
                await _some_turns()
                server.close()
                for peer in self._peers:
                    peer.do("abort")
                await _some_turns()
            # One that is accepted as the server closes gets no transport from asyncio.
            begun = [peer for peer in self._peers if peer.made]
            await self._until(lambda: all(peer.lost for peer in begun), "a connection")
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
            while self._left and pool.room:
                self._more()
            await self._until(lambda: not (self._left or self._under_way), "an exchange")
            await self._lull(deed)
        if pool.busy or not pool.room:
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
        if not self._left or not self._pool.room:
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


async def _some_turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


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
