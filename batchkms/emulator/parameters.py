"""Which parameters an action takes: one table per action, checked before the action runs."""

from __future__ import annotations

from typing import Any

import orjson

from batchkms.emulator.apierror import (
    bad_format,
    bad_json,
    body_not_json,
    missing_parameter,
    unknown_parameter,
    wrong_type,
)

MAX_CONTEXT_CHARS = 1024


class ParameterTable:
    """Names and JSON types of the parameters of one action.

    A JSON value has exactly one Python type here, so that `int` takes neither true nor 1.0.
    """

    def __init__(
        self, *, required: dict[str, type] | None = None, optional: dict[str, type] | None = None
    ) -> None:
        self._required = tuple(required or ())
        self._kinds = {**(required or {}), **(optional or {})}

    @property
    def kinds(self) -> dict[str, type]:
        """The JSON type of every parameter, for requests that carry nothing but texts."""
        return self._kinds

    def read(self, body: bytes) -> dict[str, Any]:
        """The parameters in a request body, all known and of the right type. Raises ApiError.

        A null is a value of no type that an action takes, and refused as such.
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
        return given


def encryption_context(parameters: dict[str, Any]) -> str:
    """The EncryptionContext exactly as sent, or the empty text if there is none.

    It must be a JSON object of strings of at most 1,024 characters. Raises ApiError. Contexts
    are compared as texts: the documentation asks for "the same string", and whether the
    service treats two spellings of the same JSON as equal is not known.
    """
    context: str = parameters.get("EncryptionContext", "")
    if not context:
        return ""
    if len(context) > MAX_CONTEXT_CHARS:
        raise bad_format("EncryptionContext")
    try:
        pairs = orjson.loads(context)
    except orjson.JSONDecodeError:
        raise bad_json("EncryptionContext") from None
    if type(pairs) is not dict or not all(type(value) is str for value in pairs.values()):
        raise bad_json("EncryptionContext")
    return context
