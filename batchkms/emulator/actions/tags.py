"""Tags: pairs of key and value that a CMK is given when it is made, and found by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchkms.emulator.apierror import api_error, bad_format, missing_parameter, wrong_type
from batchkms.emulator.key import Key


def read_tags(given: list[Any]) -> tuple[tuple[str, str], ...]:
    """The pairs in a list of `{TagKey, TagValue}`. Raises ApiError.

    Any pair is taken: whether the account knows a tag is the tag service's business, which the
    emulator does not have.
    """
    tags = []
    for number, item in enumerate(given):
        name = f"Tags.{number}"
        fields = _fields(name, item, {"TagKey": str, "TagValue": str})
        if not fields["TagKey"]:
            raise bad_format(f"{name}.TagKey")
        tags.append((fields["TagKey"], fields["TagValue"]))
    if len({key for key, _ in tags}) < len(tags):
        raise api_error("InvalidParameterValue.TagKeysDuplicated")
    return tuple(tags)


def read_filters(given: list[Any]) -> list[tuple[str, list[str]]]:
    """The filters in a list of `{TagKey, TagValue: [...]}`. Raises ApiError."""
    filters = []
    for number, item in enumerate(given):
        fields = _fields(f"TagFilters.{number}", item, {"TagKey": str, "TagValue": list})
        if not all(type(value) is str for value in fields["TagValue"]):
            raise wrong_type(f"TagFilters.{number}.TagValue")
        filters.append((fields["TagKey"], fields["TagValue"]))
    return filters


def passes(key: Key, filters: Sequence[tuple[str, list[str]]]) -> bool:
    """Whether a key has a tag for each filter: of that key, and with one of its values if any."""
    tags = dict(key.tags)
    return all(name in tags and (not values or tags[name] in values) for name, values in filters)


def _fields(name: str, item: Any, kinds: dict[str, type]) -> dict[str, Any]:
    if type(item) is not dict or not item.keys() <= kinds.keys():
        raise wrong_type(name)
    for field, kind in kinds.items():
        if field not in item:
            raise missing_parameter(f"{name}.{field}")
        if type(item[field]) is not kind:
            raise wrong_type(f"{name}.{field}")
    return item
