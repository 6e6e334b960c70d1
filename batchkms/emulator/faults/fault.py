"""What goes wrong with one call, and what becomes of its answer."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchkms.emulator.apierror import ApiError, api_error
from batchkms.emulator.faults.rule import (
    BAD_REQUEST_ID,
    ECHO,
    NO_REQUEST_ID,
    ON_THE_WIRE,
    OTHER_KEY_ID,
    UNANSWERED,
    UNDECODABLE,
    Rule,
)

ANOTHER_KEY_ID = "ffffffff-0000-11ee-8000-00000000dead"
MALFORMED_REQUEST_ID = "not a request id \u2603"
UNDECODABLE_TEXT = "%%% this is not decodable %%%"
ECHO_CODE = "InvalidParameterValue"


@dataclass(frozen=True, slots=True)
class QuotaChange:
    """Another quota for the group of the call: calls a second, None for no limit.

    After `for_s` seconds it is what it was before; None is for good.
    """

    limit: int | None
    for_s: float | None


class Unanswered(Exception):
    """The action is not carried out, and what the caller gets is no answer of the API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with one call; `outcome` is the rule that decides on the answer."""

    outcome: Rule | None
    delay_s: float = 0.0
    quota_changes: tuple[QuotaChange, ...] = ()

    @property
    def label(self) -> str | None:
        """What the call is counted as if its answer is spoiled, such as `Fault.hang`."""
        if self.outcome is None or self.outcome.effect in (None, ECHO):
            return f"Fault.http-{self.outcome.http}" if self.outcome and self.outcome.http else None
        return f"Fault.{self.outcome.effect}"

    @property
    def on_the_wire(self) -> bool:
        """Whether the HTTP side has to carry it out."""
        rule = self.outcome
        return rule is not None and (rule.http is not None or rule.effect in ON_THE_WIRE)

    def forestall(self, parameters: Mapping[str, Any]) -> None:
        """Keeps the action from being carried out, if that is what the fault does.

        Raises ApiError with the fault's code, or Unanswered. `parameters` are those of the
        request, for a message that echoes them.
        """
        rule = self.outcome
        if rule is None:
            return
        if rule.effect == ECHO:
            raise ApiError(rule.code or ECHO_CODE, _echo(parameters))
        if rule.code is not None:
            usual = api_error(rule.code)
            raise ApiError(rule.code, rule.message) if rule.message else usual
        if rule.http is not None or rule.effect in UNANSWERED:
            raise Unanswered

    def spoil(self, fields: dict[str, Any]) -> None:
        """Changes the fields of an answer that is ready to be sent, if the fault does so."""
        effect = self.outcome.effect if self.outcome is not None else None
        if effect == NO_REQUEST_ID:
            del fields["RequestId"]
        elif effect == BAD_REQUEST_ID:
            fields["RequestId"] = MALFORMED_REQUEST_ID
        elif effect == OTHER_KEY_ID and "KeyId" in fields:
            fields["KeyId"] = ANOTHER_KEY_ID
        elif effect == UNDECODABLE:
            for name in ("CiphertextBlob", "Plaintext"):
                if name in fields:
                    fields[name] = UNDECODABLE_TEXT


def _echo(parameters: Mapping[str, Any]) -> str:
    """A message with every value of the request in it, and base64 also as what it stands for."""
    told = [f"`{name}` is `{value}`{_decoded(value)}" for name, value in parameters.items()]
    return "A value of the request is not valid: " + "; ".join(told)


def _decoded(value: Any) -> str:
    try:
        return f" (`{base64.b64decode(value, validate=True).decode()}`)"
    except (TypeError, ValueError, binascii.Error):
        return ""
