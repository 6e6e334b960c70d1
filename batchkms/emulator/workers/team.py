"""What one worker has in common with the others, and how their figures become one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from batchkms.emulator.gateway import Gateway
from batchkms.emulator.journal import KEPT_CALLS
from batchkms.emulator.quota import Quotas, Window
from batchkms.emulator.workers.board import (
    Board,
    SharedFixedWindow,
    SharedLedger,
    SharedSlidingWindow,
)
from batchkms.emulator.workers.peers import Json, Peers

_WINDOWS: Mapping[str, Callable[[Board, tuple[str, str, str], int], Window]] = {
    "sliding": SharedSlidingWindow,
    "fixed": SharedFixedWindow,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """The place of worker `index` among `count`, from 0.

    `token` is the one of all workers. `directory` holds the sockets they ask each other by.
    """

    board: Board
    index: int
    count: int
    directory: Path
    token: str

    def join(self, limits: Mapping[str, int] | None, *, window: str) -> Member:
        """Takes the place; `limits` and `window` are those of every worker's quotas."""
        peers = Peers(self.directory, self.index, self.count)
        quotas = SharedQuotas(limits, board=self.board, window=window, peers=peers)
        return Member(quotas=quotas, ledger=SharedLedger(self.board), peers=peers, token=self.token)


class SharedQuotas(Quotas):
    """Quotas whose windows are in shared memory.

    A changed limit reaches the other workers by a message, so that for a few milliseconds they
    may still go by the old one.
    """

    def __init__(
        self, limits: Mapping[str, int] | None, *, board: Board, window: str, peers: Peers
    ) -> None:
        self._board = board
        self._peers = peers
        super().__init__(limits, make=partial(_WINDOWS[window], board))

    def change(
        self, group: str, limit: int | None, now_s: float, *, for_s: float | None = None
    ) -> None:
        """Gives a group another limit, here and in the other workers."""
        self.take_over(group, limit, now_s, for_s=for_s)
        change = {"group": group, "limit": limit, "now_s": now_s, "for_s": for_s}
        self._peers.tell({"what": "quota", **change})

    def take_over(
        self, group: str, limit: int | None, now_s: float, *, for_s: float | None
    ) -> None:
        """Does what another worker has been told to do."""
        super().change(group, limit, now_s, for_s=for_s)

    def forget_calls(self) -> None:
        """Begins to count anew, for all workers."""
        self._board.forget_calls()


class Member:
    """A worker among others: makes one answer of those of all, and answers the others."""

    def __init__(
        self, *, quotas: SharedQuotas, ledger: SharedLedger, peers: Peers, token: str
    ) -> None:
        self.quotas = quotas
        self.ledger = ledger
        self.token = token
        self._peers = peers
        self._gateway: Gateway | None = None
        self._pause: Callable[[float], None] | None = None

    async def open(self, gateway: Gateway, pause: Callable[[float], None]) -> None:
        """Begins to answer the others; `pause` refuses connections for a time."""
        self._gateway, self._pause = gateway, pause
        await self._peers.open(self.answer)

    async def close(self) -> None:
        """Stops answering."""
        await self._peers.close()

    def refuse(self, for_s: float) -> None:
        """Has all workers refuse connections for a time."""
        self._peers.tell({"what": "pause", "for_s": for_s})
        if self._pause is not None:
            self._pause(for_s)

    async def all(self, what: str, own: Json) -> Json:
        """What all workers together say to `stats` or `requests`, or do to `forget`."""
        if what == "forget":
            self.quotas.forget_calls()
        answers = [own, *await self._peers.ask({"what": what})]
        if what == "stats":
            return {"actions": _summed([answer["actions"] for answer in answers])}
        if what == "requests":
            calls = [call for answer in answers for call in answer["requests"]]
            return {"requests": sorted(calls, key=lambda call: float(call["time"]))[-KEPT_CALLS:]}
        return own

    def answer(self, question: Json) -> Json:
        """What this worker says to another one."""
        if self._gateway is None or self._pause is None:
            return {}
        match question:
            case {"what": "stats"}:
                return self._gateway.stats.as_json()
            case {"what": "requests"}:
                return self._gateway.requests()
            case {"what": "forget"}:
                self._gateway.forget()
            case {"what": "pause", "for_s": for_s}:
                self._pause(for_s)
            case {"what": "quota", "group": group, "limit": limit, "now_s": now_s, "for_s": for_s}:
                self.quotas.take_over(group, limit, now_s, for_s=for_s)
        return {}


def _summed(workers: list[Json]) -> Json:
    """The figures of all workers, action by action."""
    return {name: _sum([worker[name] for worker in workers]) for name in workers[0]}


def _sum(figures: list[Json]) -> Json:
    total: Json = {}
    for worker in figures:
        for name, value in worker.items():
            if name == "errors":
                errors = total.setdefault(name, {})
                for code, count in value.items():
                    errors[code] = errors.get(code, 0) + count
            else:
                total[name] = total.get(name, 0) + value
    return total
