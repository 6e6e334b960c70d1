"""What is read from GetServiceStatus, and what is not believed."""

from __future__ import annotations

from typing import Any

import pytest

from batchkms.kms.servicestatus import out_of_service, quota_of


@pytest.mark.parametrize(
    ("status", "quota"),
    [
        ({}, None),
        ({"QpsLimit": 300}, 300),
        ({"QpsLimit": 0}, None),
        ({"QpsLimit": True}, None),
        ({"QpsLimit": "300"}, None),
        ({"QpsLimit": 300, "RegionsQps": [{"Region": "here", "Qps": 50}]}, 50),
        ({"QpsLimit": 300, "RegionsQps": [{"Region": "there", "Qps": 50}]}, 300),
        ({"QpsLimit": 300, "RegionsQps": [{"Region": "here", "Qps": 0}]}, 300),
        ({"QpsLimit": 300, "RegionsQps": [None, 5]}, 300),
        ({"QpsLimit": 300, "RegionsQps": "here"}, 300),
    ],
)
def test_the_quota_of_a_region(status: dict[str, Any], quota: int | None) -> None:
    assert quota_of(status, "here") == quota


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({}, None),
        ({"ServiceEnabled": True, "InvalidType": 1}, None),
        ({"ServiceEnabled": True, "InvalidType": 0}, None),
        ({"ServiceEnabled": False, "InvalidType": 0}, "not active"),
        ({"ServiceEnabled": False}, "not active"),
        ({"ServiceEnabled": True, "InvalidType": 2}, "arrears"),
        ({"ServiceEnabled": False, "InvalidType": 3}, "released"),
        ({"InvalidType": [2]}, None),
    ],
)
def test_an_account_that_is_out_of_service(status: dict[str, Any], why: str | None) -> None:
    told = out_of_service(status)
    assert told is None if why is None else told is not None and why in told
