"""What became of one call of a load test: all that figures, files and reports are made of."""

from __future__ import annotations

import msgspec

OK = "ok"
"""The class of a call that succeeded; every other one is an `ErrorClass`."""


class Call(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename={"outcome": "class"}):
    """One call. Times are seconds since the run's first scheduled moment.

    `scheduled` is when the call was to be made, `sent` when the first byte of it was written
    (None if none ever was), `done` when its answer was whole or it had failed. With retries,
    `sent` is that of the first attempt and all else that of the last one. `outcome` is `ok` or
    an error class, `code` the service's code or one of ours, `bytes` those of request and answer.
    """

    scheduled: float
    sent: float | None
    done: float
    action: str
    outcome: str
    bytes: int
    code: str | None = None
    request_id: str | None = None
    attempts: int = 1
    warmup: bool = False
