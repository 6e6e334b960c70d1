"""What GetServiceStatus says, read with care: none of it is promised to be there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OUT_OF_SERVICE = {2: "the account is in arrears", 3: "the account's KMS has been released"}
"""What the numbers of InvalidType mean that speak of an account which had KMS once."""


def quota_of(status: Mapping[str, Any], region: str) -> int | None:
    """The calls a second of a region: its own (RegionsQps) if told, else the account's."""
    regions = status.get("RegionsQps")
    for entry in regions if isinstance(regions, list) else []:
        if isinstance(entry, dict) and entry.get("Region") == region:
            return _positive(entry.get("Qps")) or _positive(status.get("QpsLimit"))
    return _positive(status.get("QpsLimit"))


def out_of_service(status: Mapping[str, Any]) -> str | None:
    """Why the account cannot use KMS, if the status says that it cannot."""
    kind = status.get("InvalidType")
    if type(kind) is int and kind in _OUT_OF_SERVICE:
        return _OUT_OF_SERVICE[kind]
    return "KMS is not active for the account" if status.get("ServiceEnabled") is False else None


def _positive(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None
