"""From a request to its answer, in the order in which a call is judged.

Form and size, required parameters, signature, version, action, region, quota, the test hook,
parameters, the credential's rules, and only then the action. Which of two faults the real
service names first is not documented; what matters is kept: nobody without a valid signature
learns anything or uses up quota.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
import uuid
from collections.abc import Callable
from typing import Any

import orjson

from batchkms.emulator.actions import ACTIONS, Action, Office
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
from batchkms.emulator.faults import Fault, Faults, Spoiled, Unanswered
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

    __slots__ = ("action", "began_s", "fault", "key_id", "language", "request_id", "secret_id")

    def __init__(self, request_id: str, began_s: float) -> None:
        self.request_id = request_id
        self.began_s = began_s
        self.action = ""
        self.language = ENGLISH
        self.secret_id = ""
        self.key_id = ""
        self.fault: Fault | None = None


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
        quotas: Quotas | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.faults = faults or Faults()
        self.stats = Stats(ACTIONS)
        self.journal = Journal()
        self._office = office
        self._verifier = verifier
        self._ticks = ticks
        self._fail = fail
        self._clock = clock
        self._strict = strict
        self._request_ids = request_ids
        self._quotas = quotas or Quotas(None)

    async def answer(self, request: Request) -> bytes | Spoiled:
        """The answer to a request: JSON in the API's envelope. Raises nothing.

        A fault that needs the connection comes back for the HTTP side to carry out.
        """
        case = _Case(self._request_ids(), self._ticks())
        try:
            call = read_call(request)
            case.action, case.language = call.action, call.language
            fields = await self._call(case, call)
        except ApiError as error:
            return self._refused(case, error)
        except Unanswered:
            return self._ended(case, None, {})
        except Exception as error:
            # The exception's own text is left out: it could quote a value of the request.
            log.error("%s failed: %s", case.action[:40], _place(error))
            return self._refused(case, api_error("InternalError"))
        return self._ended(case, None, fields)

    def refusal(self, error: ApiError, *, action: str, language: str) -> bytes | Spoiled:
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
        """Starts the figures, the journal, the quotas and the faults anew."""
        self.stats = Stats(ACTIONS)
        self.journal.clear()
        self._quotas.reset()
        self.faults.reset()

    def _refused(self, case: _Case, error: ApiError) -> bytes | Spoiled:
        message = error.text.told_in(case.language)
        return self._ended(case, error.code, {"Error": {"Code": error.code, "Message": message}})

    def _ended(self, case: _Case, code: str | None, fields: dict[str, Any]) -> bytes | Spoiled:
        fault = case.fault
        if fault is not None and code is None:
            code = fault.label
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
        if fault is None:
            return orjson.dumps({"Response": fields})
        fault.spoil(fields)
        answer = orjson.dumps({"Response": fields})
        return Spoiled(fault, answer) if fault.on_the_wire else answer

    async def _call(self, case: _Case, call: Call) -> dict[str, Any]:
        call.required("Action")
        call.required("Version")
        credential = self._verifier.verify(call)
        case.secret_id = credential.secret_id
        action = self._requested(call)
        if self.faults.active:
            await self._meet_fault(case, call, action)
        self._let_through(action, credential.account)
        code = self._fail(action.name) if self._fail is not None else None
        if code is not None:
            raise api_error(code)
        parameters = call.parameters(action.parameters)
        case.key_id = parameters.get("KeyId", "")
        if credential.rules:
            await self._check_rules(case, credential, parameters)
        return await action.handle(self._office, parameters)

    async def _meet_fault(self, case: _Case, call: Call, action: Action) -> None:
        """What fault rules do to a call before it is judged further; a fault uses up no quota.

        Raises ApiError and Unanswered.
        """
        parameters = _parameters(call, action)
        fault = await self.faults.for_call(
            action=action.name,
            secret_id=case.secret_id,
            key_ids=lambda: key_ids_of(self._office, parameters),
        )
        if fault is None:
            return
        case.fault = fault
        for change in fault.quota_changes:
            group, now_s = action.quota_group, self._ticks()
            self._quotas.change(group, change.limit, now_s, for_s=change.for_s)
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        fault.forestall(parameters)

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

    def _let_through(self, action: Action, account: str) -> None:
        now_s = self._ticks()
        refusal = self._quotas.refusal(
            action.quota_group, now_s, account=account, region=self._office.region
        )
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


def _parameters(call: Call, action: Action) -> dict[str, Any]:
    """The parameters of a call as far as they are valid: faults come before that is judged."""
    try:
        return call.parameters(action.parameters)
    except ApiError:
        return {}


def _place(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {frame.name}, line {frame.lineno}"
