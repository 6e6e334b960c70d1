"""The calls of a load test against the real emulator, over real sockets."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from batchkms.emulator import Emulator
from batchkms.errors import ConfigError
from batchkms.kms.credentials import Credentials
from batchkms.kms.signedrequests import SignatureMethod, signed_requests
from batchkms.kms.transport import parse_endpoint
from batchkms.loadtest.contents import Payloads
from batchkms.loadtest.judging import Judged
from batchkms.loadtest.mix import parse_mix
from batchkms.loadtest.payload import parse_payload_size
from batchkms.loadtest.rows import Row, Rows
from batchkms.loadtest.workload import Workload
from batchkms.records import Record
from tests.loadtest.carrying import Carrier

CONTEXT = '{"team":"röd +/="}'


@pytest.fixture(scope="module")
async def emulator(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Emulator]:
    """An emulator without a quota."""
    data = tmp_path_factory.mktemp("emulator")
    async with Emulator(data_dir=data, rate_limit=None) as emulator:
        yield emulator
