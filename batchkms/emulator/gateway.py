"""From a request to its answer, in the order in which a call is judged.

Size and required headers, signature, version, action, region, quota, the test hook, parameters,
and only then the action. Which of two faults the real service names first is not documented;
what matters is kept: nobody without a valid signature learns anything or uses up quota.
"""

from __future__ import annotations

import logging
import traceback
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from batchkms.emulator.actions import ACTIONS, Action, Office
from batchkms.emulator.actions.base import MANAGEMENT_PER_SECOND, SYMMETRIC_GROUP
from batchkms.emulator.apierror import (
    ApiError,
    api_error,
    bad_common_value,
    missing_header,
    missing_parameter,
    throttled,
)
from batchkms.emulator.auth import Verifier
from batchkms.emulator.quota import Quotas
from batchkms.emulator.regions import REGIONS
from batchkms.emulator.stats import Stats
from batchkms.kms.wire import HEADER_ACTION, HEADER_REGION, HEADER_VERSION, VERSION

FailHook = Callable[[str], str | None]
"""Given an action's name, the error code to answer with instead of acting, or None."""

log = logging.getLogger("batchkms.emulator")


class Gateway:
    """Answers the calls of one emulator.

    `ticks` gives seconds of a clock that never runs backwards; the quota is measured with it.
    """

    def __init__(
        self,
        *,
        office: Office,
        verifier: Verifier,
        ticks: Callable[[], float],
        fail: FailHook | None,
    ) -> None:
        self.stats = Stats(ACTIONS)
        self._office = office
        self._verifier = verifier
        self._ticks = ticks
        self._fail = fail
        self._quotas = Quotas(_limits(office.rate_limit))

    async def answer(self, headers: Mapping[str, str], body: bytes) -> bytes:
        """The answer to a POST: JSON in the API's envelope. Raises nothing."""
        name = headers.get(HEADER_ACTION, "")
        try:
            fields = await self._call(name, headers, body)
        except ApiError as error:
            return self.refusal(error, name)
        except Exception as error:
            # The exception's own text is left out: it could quote a value of the request.
            log.error("%s failed: %s", name[:40], _place(error))
            return self.refusal(api_error("InternalError"), name)
        self.stats.ended(name, None)
        return _envelope(fields)

    def refusal(self, error: ApiError, action: str = "") -> bytes:
        """The answer that carries an error; it is counted for the action."""
        self.stats.ended(action, error.code)
        return _envelope({"Error": {"Code": error.code, "Message": error.message}})

    async def _call(self, name: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        for required in (HEADER_ACTION, HEADER_VERSION):
            if required not in headers:
                raise missing_header(required)
        self._verifier.verify(headers, body)
        action = self._requested(name, headers)
        self._let_through(action)
        code = self._fail(name) if self._fail is not None else None
        if code is not None:
            raise api_error(code)
        return await action.handle(self._office, action.parameters.read(body))

    def _requested(self, name: str, headers: Mapping[str, str]) -> Action:
        if headers[HEADER_VERSION] != VERSION:
            raise api_error("NoSuchVersion")
        action = ACTIONS.get(name)
        if action is None:
            raise api_error("InvalidAction")
        region = headers.get(HEADER_REGION)
        if region is None:
            raise missing_parameter("Region")
        if region != self._office.region:
            # A name that no region has is another error than a region without the service.
            known = region in REGIONS
            raise api_error("UnsupportedRegion") if known else bad_common_value(HEADER_REGION)
        return action

    def _let_through(self, action: Action) -> None:
        now_s = self._ticks()
        refusal = self._quotas.refusal(action.quota_group, now_s)
        if refusal is not None:
            raise throttled(*refusal)
        self.stats.actions[action.name].let_through.add(now_s)


def _limits(rate_limit: int | None) -> dict[str, int] | None:
    if rate_limit is None:
        return None
    limits = {action.quota_group: MANAGEMENT_PER_SECOND for action in ACTIONS.values()}
    return {**limits, SYMMETRIC_GROUP: rate_limit}


def _envelope(fields: dict[str, Any]) -> bytes:
    fields["RequestId"] = str(uuid.uuid4())
    return orjson.dumps({"Response": fields})


def _place(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {frame.name}, line {frame.lineno}"
