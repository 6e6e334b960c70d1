"""What an endpoint may be: HTTPS anywhere, plain HTTP on loopback, and never a password."""

from __future__ import annotations

import pytest

from batchkms.errors import ConfigError
from batchkms.kms.endpoint import Endpoint, is_loopback, parse_endpoint


@pytest.mark.parametrize(
    ("text", "scheme", "host"),
    [
        ("kms.tencentcloudapi.com", "https", "kms.tencentcloudapi.com"),
        ("https://kms.tencentcloudapi.com/", "https", "kms.tencentcloudapi.com"),
        ("https://KMS.TencentCloudAPI.com:443", "https", "kms.tencentcloudapi.com"),
        (
            "HTTPS://kms.internal.tencentcloudapi.com:8443",
            "https",
            "kms.internal.tencentcloudapi.com:8443",
        ),
        ("http://127.0.0.1:8080", "http", "127.0.0.1:8080"),
        ("http://127.3.2.1", "http", "127.3.2.1"),
        ("http://localhost:80", "http", "localhost"),
        ("http://[::1]:9000", "http", "[::1]:9000"),
        ("https://[2001:db8::1]", "https", "[2001:db8::1]"),
    ],
)
def test_endpoints(text: str, scheme: str, host: str) -> None:
    assert parse_endpoint(text) == Endpoint(scheme, host)
    assert parse_endpoint(text).url == f"{scheme}://{host}/"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://",
        "ftp://kms.example",
        "https://kms.example:port",
        "https://kms.example:99999",
        "https://kms.example/path",
        "https://kms.example/?query",
        "https://kms.example/#part",
        "https://[::1",
        "https://kms example.com",
        "https://kms.example\\evil",
        "http://kms.example",
        "http://10.0.0.1:8080",
        "http://localhost.example",
        "http://127.0.0.1.example",
        "http://0.0.0.0:80",
        "http://[2001:db8::1]",
    ],
)
def test_endpoints_that_are_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_endpoint(text)
    assert caught.value.hint


@pytest.mark.parametrize("rest", ["kms.example", "kms.example:99999", "[::1", "kms.example/x"])
def test_a_password_in_an_endpoint_is_refused_and_not_repeated(rest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_endpoint(f"https://user:pass-word@{rest}")
    assert "pass-word" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("127.255.255.254", True),
        ("128.0.0.1", False),
        ("example", False),
        ("", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
