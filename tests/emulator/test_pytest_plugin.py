"""The pytest fixture, as a project that only has batchkms installed would use it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = """
import pytest

@pytest.fixture(scope="session")
def batchkms_emulator_options():
    return {"rate_limit": 2, "faults": [{"action": "ListKeys", "http": 503}]}
"""

TESTS = """
import base64

import pytest
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.kms.v20190118 import models
from tencentcloud.kms.v20190118.kms_client import KmsClient


@pytest.fixture
def kms(batchkms_emulator):
    http = HttpProfile(protocol="http", endpoint=batchkms_emulator.host)
    credential = Credential(batchkms_emulator.secret_id, batchkms_emulator.secret_key)
    client = KmsClient(credential, batchkms_emulator.region, ClientProfile(httpProfile=http))
    yield client
    client.request.conn._session.close()


def encrypt(kms, emulator):
    request = models.EncryptRequest()
    request.KeyId, request.Plaintext = emulator.key_id, base64.b64encode(b"secret").decode()
    return kms.Encrypt(request).CiphertextBlob


def list_keys(kms):
    return kms.ListKeys(models.ListKeysRequest())


def test_the_official_sdk_encrypts(kms, batchkms_emulator):
    assert encrypt(kms, batchkms_emulator)
    assert batchkms_emulator.stats()["Encrypt"]["calls"] == 1
    batchkms_emulator.faults.add(action="Encrypt", code="InternalError", times=1)
    with pytest.raises(TencentCloudSDKException, match="InternalError"):
        encrypt(kms, batchkms_emulator)
    request = models.DisableKeyRequest()
    request.KeyId = batchkms_emulator.key_id
    kms.DisableKey(request)


def test_nothing_of_the_test_before_is_left(kms, batchkms_emulator):
    assert batchkms_emulator.stats()["Encrypt"]["calls"] == 0
    assert len(batchkms_emulator.faults.rules()) == 1
    assert encrypt(kms, batchkms_emulator)
    assert encrypt(kms, batchkms_emulator)
    with pytest.raises(TencentCloudSDKException, match="RequestLimitExceeded"):
        encrypt(kms, batchkms_emulator)


def test_options_are_those_of_the_conftest(kms, batchkms_emulator):
    with pytest.raises(TencentCloudSDKException, match="ServerNetworkError"):
        list_keys(kms)
    batchkms_emulator.faults.clear()
    assert list_keys(kms).TotalCount == 1


def test_a_wrong_rule_is_told(batchkms_emulator):
    with pytest.raises(Exception, match="nothing goes wrong"):
        batchkms_emulator.faults.add(action="Encrypt")
    batchkms_emulator.faults.add(effect="refuse", for_="1s")
"""

UNUSED = """
import sys

def test_nothing_heavy_is_imported():
    heavy = ("aiohttp", "cryptography", "msgspec", "orjson", "uvloop", "batchkms.emulator")
    assert "batchkms.pytest_plugin" in sys.modules
    assert [name for name in heavy if name in sys.modules] == []
"""

WRONG = """
import pytest

@pytest.fixture(scope="session")
def batchkms_emulator_options():
    return {"rate_limit": 0}

def test_it(batchkms_emulator):
    pass
"""


def run(folder: Path, **files: str) -> subprocess.CompletedProcess[str]:
    for name, content in files.items():
        (folder / f"{name}.py").write_text(content)
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    plugins = ("-p", "batchkms.pytest_plugin", "-p", "no:cacheprovider")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, "--color=no"],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_plain_tests_use_the_official_sdk_and_begin_afresh(tmp_path: Path) -> None:
    done = run(tmp_path, conftest=CONFTEST, test_kms=TESTS)
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


def test_it_costs_nothing_where_it_is_not_used(tmp_path: Path) -> None:
    done = run(tmp_path, test_unused=UNUSED)
    assert done.returncode == 0, done.stdout


def test_options_that_cannot_be_are_told_and_nothing_hangs(tmp_path: Path) -> None:
    done = run(tmp_path, test_wrong=WRONG)
    assert done.returncode == 1
    assert "the rate limit must be at least 1" in done.stdout


def test_pytest_finds_it_by_its_entry_point() -> None:
    from importlib.metadata import entry_points

    found = {point.name: point.value for point in entry_points(group="pytest11")}
    if "batchkms_emulator" not in found:
        pytest.skip("batchkms was installed before it had a pytest plugin: install it again")
    assert found["batchkms_emulator"] == "batchkms.pytest_plugin"
