"""Parameters as texts: what a query or a form says, and the types that an action gives it.

GET and signature v1 flatten every parameter: `KeyIds.0=...&KeyIds.1=...&Tags.0.TagKey=...`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote_plus

import orjson

from batchkms.emulator.apierror import (
    bad_array,
    bad_format,
    empty_name,
    no_equals_sign,
    repeated,
)
from batchkms.emulator.parameters import ParameterTable

MAX_DEPTH = 8
"""Parts of a flattened name; no parameter of the API needs more than four."""

_INTEGER = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**64 - 1
_BOOLEANS = {"true": True, "false": False}

_Tree = dict[str, Any]


def read_form(raw: str) -> dict[str, str]:
    """The decoded pairs of a query or form body, in the order given. Raises ApiError.

    A space may be sent as `+`, as the SDKs for Python and Go do, or as `%20`, as Node's does.
    """
    pairs: dict[str, str] = {}
    for part in raw.split("&"):
        if not part:
            continue
        name, equals, value = part.partition("=")
        if not equals:
            raise no_equals_sign()
        name = unquote_plus(name, errors="replace")
        if not name:
            raise empty_name()
        if name in pairs:
            raise repeated(name)
        pairs[name] = unquote_plus(value, errors="replace")
    return pairs


def typed_parameters(pairs: Mapping[str, str], table: ParameterTable) -> dict[str, Any]:
    """The parameters that flattened texts stand for, checked as those of a JSON body are.

    A text that cannot be what the table declares stays a text, which the table then refuses.
    Raises ApiError.
    """
    kinds = table.kinds
    fields = _unflattened(pairs)
    typed = {name: _typed(value, kinds.get(name)) for name, value in fields.items()}
    return table.read(orjson.dumps(typed))


def _unflattened(pairs: Mapping[str, str]) -> _Tree:
    root: _Tree = {}
    for name, value in pairs.items():
        *path, last = name.split(".")
        if len(path) >= MAX_DEPTH or not all((*path, last)):
            raise bad_format(name[:100])
        node = root
        for part in path:
            node = node.setdefault(part, {})
            if type(node) is not dict:
                raise bad_format(name[:100])
        if last in node:
            raise bad_format(name[:100])
        node[last] = value
    return {name: _with_arrays(name, value) for name, value in root.items()}


def _with_arrays(name: str, value: Any) -> Any:
    """The value with every node whose names are all numbers turned into a list."""
    if type(value) is not dict:
        return value
    inner = {key: _with_arrays(f"{name}.{key}", child) for key, child in value.items()}
    if not all(_is_index(key) for key in inner):
        return inner
    if not _is_continuous(inner):
        raise bad_array(name)
    return [inner[str(index)] for index in range(len(inner))]


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdecimal()


def _is_continuous(indexes: Iterable[str]) -> bool:
    given = set(indexes)
    return all(str(index) in given for index in range(len(given)))


def _typed(value: Any, kind: type | None) -> Any:
    if type(value) is not str:
        return value
    if kind is int and _INTEGER.fullmatch(value):
        number = int(value)
        return number if _MIN_INTEGER <= number <= _MAX_INTEGER else value
    if kind is bool:
        # The Python SDK writes True, the one for Go true.
        return _BOOLEANS.get(value.lower(), value)
    return value
