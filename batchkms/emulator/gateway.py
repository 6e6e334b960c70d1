"""From a request to its answer, in the order in which a call is judged.

Form and size, required parameters, signature, version, action, region, quota, the test hook,
parameters, the credential's rules, and only then the action. Which of two faults the real
service names first is not documented; what matters is kept: nobody without a valid signature
learns anything or uses up quota.
"""

from __future__ import annotations

import logging
import time
import traceback
import uuid
from collections.abc import Callable
from typing import Any

import orjson

from batchkms.emulator.actions import ACTIONS, Action, Office
from batchkms.emulator.actions.base import MANAGEMENT_PER_SECOND, SYMMETRIC_GROUP
from batchkms.emulator.apierror import (
    ApiError,
    api_error,
    bad_common_value,
    throttled,
    unauthorized,
)
from batchkms.emulator.auth import Verifier
from batchkms.emulator.calls import Call, Request, read_call
from batchkms.emulator.credentials import Credential
from batchkms.emulator.journal import Entry, Journal
from batchkms.emulator.policy import permits
from batchkms.emulator.quota import Quotas
from batchkms.emulator.regions import REGIONS
from batchkms.emulator.stats import Stats
from batchkms.emulator.subjects import key_ids_of, resource_of
from batchkms.emulator.texts import ENGLISH, LANGUAGES
from batchkms.kms.wire import VERSION

FailHook = Callable[[str], str | None]
"""Given an action's name, the error code to answer with instead of acting, or None."""

log = logging.getLogger("batchkms.emulator")


def new_request_id() -> str:
    """A random UUID, as the service's are."""
    return str(uuid.uuid4())


class _Case:
    """What is known of a call so far, for its answer and for the journal."""

    __slots__ = ("action", "began_s", "key_id", "language", "request_id", "secret_id")

    def __init__(self, request_id: str, began_s: float) -> None:
        self.request_id = request_id
        self.began_s = began_s
        self.action = ""
        self.language = ENGLISH
        self.secret_id = ""
        self.key_id = ""


class Gateway:
    """Answers the calls of one emulator.

    `ticks` gives seconds of a clock that never runs backwards; the quota is measured with it.
    `clock` gives Unix time, for the journal. `strict` refuses a language that is none.
    """

    def __init__(
        self,
        *,
        office: Office,
        verifier: Verifier,
        ticks: Callable[[], float],
        fail: FailHook | None,
        clock: Callable[[], float] = time.time,
        strict: bool = False,
        request_ids: Callable[[], str] = new_request_id,
    ) -> None:
        self.stats = Stats(ACTIONS)
        self.journal = Journal()
        self._office = office
        self._verifier = verifier
        self._ticks = ticks
        self._fail = fail
        self._clock = clock
        self._strict = strict
        self._request_ids = request_ids
        self._quotas = Quotas(_limits(office.rate_limit))

    async def answer(self, request: Request) -> bytes:
        """The answer to a request: JSON in the API's envelope. Raises nothing."""
        case = _Case(self._request_ids(), self._ticks())
        try:
            call = read_call(request)
            case.action, case.language = call.action, call.language
            fields = await self._call(case, call)
        except ApiError as error:
            return self._refused(case, error)
        except Exception as error:
            # The exception's own text is left out: it could quote a value of the request.
            log.error("%s failed: %s", case.action[:40], _place(error))
            return self._refused(case, api_error("InternalError"))
        return self._ended(case, None, fields)

    def refusal(self, error: ApiError, *, action: str, language: str) -> bytes:
        """The answer to a request that could not be read; it is counted for the action."""
        case = _Case(self._request_ids(), self._ticks())
        case.action, case.language = action, language
        return self._refused(case, error)

    def requests(self) -> dict[str, Any]:
        """The last calls, as `GET /_emulator/requests` tells them."""
        key_ids = {key.key_id for key in self._office.keys.all_keys()}
        return self.journal.as_json(
            knows_action=ACTIONS.__contains__, knows_key=key_ids.__contains__
        )

    def forget(self) -> None:
        """Starts the figures and the journal anew."""
        self.stats = Stats(ACTIONS)
        self.journal.clear()

    def _refused(self, case: _Case, error: ApiError) -> bytes:
        message = error.text.told_in(case.language)
        return self._ended(case, error.code, {"Error": {"Code": error.code, "Message": message}})

    def _ended(self, case: _Case, code: str | None, fields: dict[str, Any]) -> bytes:
        self.stats.ended(case.action, code)
        self.journal.add(
            Entry(
                self._clock(),
                case.action,
                case.key_id or fields.get("KeyId", ""),
                case.secret_id,
                code,
                case.request_id,
                self._ticks() - case.began_s,
            )
        )
        fields["RequestId"] = case.request_id
        return orjson.dumps({"Response": fields})

    async def _call(self, case: _Case, call: Call) -> dict[str, Any]:
        call.required("Action")
        call.required("Version")
        credential = self._verifier.verify(call)
        case.secret_id = credential.secret_id
        action = self._requested(call)
        self._let_through(action)
        code = self._fail(action.name) if self._fail is not None else None
        if code is not None:
            raise api_error(code)
        parameters = call.parameters(action.parameters)
        case.key_id = parameters.get("KeyId", "")
        if credential.rules:
            await self._check_rules(case, credential, parameters)
        return await action.handle(self._office, parameters)

    def _requested(self, call: Call) -> Action:
        if call.required("Version") != VERSION:
            raise api_error("NoSuchVersion")
        action = ACTIONS.get(call.action)
        if action is None:
            raise api_error("InvalidAction")
        region = call.required("Region")
        if region != self._office.region:
            # A name that no region has is another error than a region without the service.
            known = region in REGIONS
            name = call.sent_name("Region")
            raise api_error("UnsupportedRegion") if known else bad_common_value(name)
        if self._strict and call.language not in LANGUAGES:
            raise bad_common_value(call.sent_name("Language"))
        return action

    def _let_through(self, action: Action) -> None:
        now_s = self._ticks()
        refusal = self._quotas.refusal(action.quota_group, now_s)
        if refusal is not None:
            raise throttled(*refusal)
        self.stats.actions[action.name].let_through.add(now_s)

    async def _check_rules(
        self, case: _Case, credential: Credential, parameters: dict[str, Any]
    ) -> None:
        """Raises ApiError if the rules do not allow the action on each of its keys."""
        for key_id in await key_ids_of(self._office, parameters):
            if not permits(credential.rules, case.action, key_id):
                resource = resource_of(self._office, key_id)
                raise unauthorized(
                    request_id=case.request_id, action=case.action, resource=resource
                )


def _limits(rate_limit: int | None) -> dict[str, int] | None:
    if rate_limit is None:
        return None
    limits = {action.quota_group: MANAGEMENT_PER_SECOND for action in ACTIONS.values()}
    return {**limits, SYMMETRIC_GROUP: rate_limit}


def _place(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {frame.name}, line {frame.lineno}"
