"""What a load test sends: call after call, decided when it is due and signed when it is sent."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from batchkms.kms.credentials import Credentials
from batchkms.kms.signedrequests import SignedRequests
from batchkms.kms.transport import Answer
from batchkms.loadtest.contents import Content, Payloads, contents_of
from batchkms.loadtest.judging import Judge, Judged
from batchkms.loadtest.mix import ACTIONS, Mix, ordered
from batchkms.loadtest.share import WHOLE, Share


class Prepared(msgspec.Struct, eq=False, gc=False):
    """One call that is due: its action and its content, not signed yet."""

    action: str
    content: Content
    workload: Workload
    token: str | None = None
    """That of the credentials which signed it last."""

    def request(self) -> bytes:
        """The whole HTTP request, signed for now. Ask again for each time that it is sent."""
        workload = self.workload
        credentials = workload.credentials
        self.token = credentials.token
        return workload.requests.request(
            ACTIONS[self.action],
            self.content.parameters,
            credentials,
            int(workload.wall_clock()),
        )

    def judge(self, answer: Answer) -> Judged:
        """What an answer to it is worth. Raises nothing."""
        return self.workload.judge.judged(self.action, self.content, answer, self.token)

    def __repr__(self) -> str:
        return f"Prepared(action={self.action!r})"


class Workload:
    """The calls of one load test, without end.

    `key_id` is the CMK for what names none itself. The same mix, payloads and seed give the same
    calls in the same order; of several processes, each makes its `share` of them. `credentials`
    may be replaced while the run goes on.

    Raises ConfigError for a mix that these payloads, or no CMK, are not enough for.
    """

    def __init__(
        self,
        *,
        mix: Mix,
        payloads: Payloads,
        requests: SignedRequests,
        key_id: str | None,
        credentials: Credentials,
        seed: int,
        share: Share = WHOLE,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.credentials = credentials
        self.requests = requests
        self.judge = Judge()
        self.wall_clock = wall_clock
        self.seed = seed
        self.notes = [] if payloads.rows is None else payloads.rows.notes
        """What is to be said of the rows of a file."""
        self.mix = mix
        self._order = ordered(mix, seed=seed, share=share)
        self._contents = {
            action: contents_of(action, payloads, key_id=key_id, seed=seed, share=share)
            for action in mix
        }

    def next(self) -> Prepared:
        """The next call: which action, and of what."""
        action = next(self._order)
        return Prepared(action, next(self._contents[action]), self)

    def __repr__(self) -> str:
        return f"Workload(mix={dict(self.mix)})"
