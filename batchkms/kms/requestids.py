"""Tells an answer that comes for the second time by its RequestId."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable

log = logging.getLogger(__name__)

REMEMBERED = 10_000
"""More than can be under way at the largest quota; each takes about 200 bytes."""

STAND_IN_AFTER = 3
"""So often an endpoint must have repeated the only RequestId that it gave."""


class RequestIds:
    """The RequestIds of the last answers.

    A gateway that sends an answer twice gets every later one on that connection out of step.
    An endpoint that gives all its answers the same id is a stand-in of somebody's own making: it
    is taken as it is, with a warning, because nothing can be told there, but not before the only id
    that is known has come a few times again: the first answer may be one that comes twice, too.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._order: deque[str] = deque()
        self._repeats = 0
        self._warned = False

    def is_new(self, request_id: str) -> bool:
        """Whether no other answer had it, as far as that can be told. Remembers it."""
        if request_id not in self._known:
            self._known.add(request_id)
            self._order.append(request_id)
            if len(self._order) > REMEMBERED:
                self._known.discard(self._order.popleft())
            return True
        self._repeats += 1
        if len(self._known) > 1 or self._repeats <= STAND_IN_AFTER:
            return False
        if not self._warned:
            self._warned = True
            log.warning(
                "the endpoint gives its answers the same RequestId: it is no KMS, and an answer "
                "that comes twice cannot be told there"
            )
        return True

    def repeated(self, request_ids: Iterable[str]) -> str | None:
        """The first of these that another answer had, which was looked at elsewhere before.

        Where an endpoint gives all its answers the same one, that has been told there.
        """
        for request_id in request_ids:
            if request_id in self._known and len(self._known) == 1:
                continue
            if not self.is_new(request_id):
                return request_id
        return None
