"""Which parameters an action takes: one table per action, checked before the action runs.

A table gives each parameter a JSON type, written as the Python type it arrives as, or a check
that also knows the limits of the value. What depends on more than the value itself (whether a
key exists, whether two parameters go together) is the action's business.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from batchkms.emulator.apierror import (
    api_error,
    bad_format,
    bad_json,
    body_not_json,
    missing_parameter,
    unknown_parameter,
    wrong_type,
)

MAX_CONTEXT_CHARS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(ABC):
    """A value of a JSON type within limits; `code` replaces the usual InvalidParameter."""

    code: str = ""

    @property
    @abstractmethod
    def kind(self) -> type:
        """The type that the value must have."""

    @abstractmethod
    def holds(self, value: Any) -> bool:
        """Whether a value of the right type is within the limits."""

    def refuse_outside(self, name: str, value: Any) -> None:
        """Raises ApiError if the value is not within the limits."""
        if not self.holds(value):
            raise api_error(self.code) if self.code else bad_format(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole(Check):
    """A whole number from `low` to `high`, both included."""

    low: int
    high: int

    @property
    def kind(self) -> type:
        """A JSON number without a fraction."""
        return int

    def holds(self, value: Any) -> bool:
        """Whether it lies between the bounds."""
        return bool(self.low <= value <= self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Check):
    """A text: one of a few, of a pattern, or of so many bytes in UTF-8 at most."""

    one_of: Collection[str] = ()
    pattern: re.Pattern[str] | None = None
    max_bytes: int = 0

    @property
    def kind(self) -> type:
        """A JSON string."""
        return str

    def holds(self, value: Any) -> bool:
        """Whether it is one of those that may be."""
        if self.one_of and value not in self.one_of:
            return False
        if self.pattern is not None and not self.pattern.fullmatch(value):
            return False
        return not self.max_bytes or len(value.encode()) <= self.max_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts(Check):
    """A list of `at_least` to `at_most` texts; `twice` is the code if one is there twice."""

    at_least: int
    at_most: int
    twice: str

    @property
    def kind(self) -> type:
        """A JSON array."""
        return list

    def holds(self, value: Any) -> bool:
        """Whether the list has a length that may be."""
        return self.at_least <= len(value) <= self.at_most

    def refuse_outside(self, name: str, value: Any) -> None:
        """Raises ApiError for another length, for what is no text, and for one given twice."""
        Check.refuse_outside(self, name, value)
        for number, item in enumerate(value):
            if type(item) is not str:
                raise wrong_type(f"{name}.{number}")
        if len(set(value)) < len(value):
            raise api_error(self.twice)


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent(Check):
    """What only another kind of account could give: any value but an empty one is refused."""

    of: type

    @property
    def kind(self) -> type:
        """Whatever it would be."""
        return self.of

    def holds(self, value: Any) -> bool:
        """Whether nothing is said with it."""
        return not value


class ParameterTable:
    """Names and JSON types of the parameters of one action, and the limits of their values.

    A JSON value has exactly one Python type here, so that `int` takes neither true nor 1.0.
    """

    def __init__(
        self,
        *,
        required: Mapping[str, type | Check] | None = None,
        optional: Mapping[str, type | Check] | None = None,
    ) -> None:
        self._required = tuple(required or ())
        declared = {**(required or {}), **(optional or {})}
        self._checks = {name: check for name, check in declared.items() if isinstance(check, Check)}
        self._kinds = {
            name: check.kind if isinstance(check, Check) else check
            for name, check in declared.items()
        }

    @property
    def kinds(self) -> dict[str, type]:
        """The JSON type of every parameter, for requests that carry nothing but texts."""
        return self._kinds

    def read(self, body: bytes) -> dict[str, Any]:
        """The parameters in a request body, all known, typed and in bounds. Raises ApiError.

        A null is a value of no type that an action takes, and refused as such. Unknown names
        and wrong types come before what is missing, and that before what is out of bounds.
        """
        try:
            given = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise body_not_json() from None
        if type(given) is not dict:
            raise body_not_json()
        for name, value in given.items():
            kind = self._kinds.get(name)
            if kind is None:
                raise unknown_parameter(name)
            if type(value) is not kind:
                raise wrong_type(name)
        for name in self._required:
            if name not in given:
                raise missing_parameter(name)
        for name, check in self._checks.items():
            if name in given:
                check.refuse_outside(name, given[name])
        return given


def encryption_context(parameters: dict[str, Any], name: str = "EncryptionContext") -> str:
    """The context of this name exactly as sent, or the empty text if there is none.

    It must be a JSON object of strings of at most 1,024 characters. Raises ApiError. Contexts
    are compared as texts: the documentation asks for "the same string", and whether the
    service treats two spellings of the same JSON as equal is not known.
    """
    context: str = parameters.get(name, "")
    if not context:
        return ""
    if len(context) > MAX_CONTEXT_CHARS:
        raise bad_format(name)
    try:
        pairs = orjson.loads(context)
    except orjson.JSONDecodeError:
        raise bad_json(name) from None
    if type(pairs) is not dict or not all(type(value) is str for value in pairs.values()):
        raise bad_json(name)
    return context
