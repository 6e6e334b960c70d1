"""What is written of a request, and what is not."""

from __future__ import annotations

import pytest

from batchkms.errors import ConfigError
from batchkms.kms.http1.requests import RequestTemplate, request_bytes

HEADERS = {"Host": "kms.example", "X-TC-Region": "ap-guangzhou"}
HEAD = b"POST / HTTP/1.1\r\nHost: kms.example\r\nX-TC-Region: ap-guangzhou\r\n"


def test_a_request() -> None:
    assert request_bytes(HEADERS, b"{}") == HEAD + b"Content-Length: 2\r\n\r\n{}"
    assert request_bytes(list(HEADERS.items()), b"{}") == request_bytes(HEADERS, b"{}")
    assert request_bytes({}, b"") == b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"


def test_a_template_writes_the_same() -> None:
    template = RequestTemplate({"Host": "kms.example"})
    more = [("X-TC-Region", "ap-guangzhou")]
    assert template.request_bytes(more, b"{}") == request_bytes(HEADERS, b"{}")
    assert template.request_bytes(dict(more), b"{}") == request_bytes(HEADERS, b"{}")


@pytest.mark.parametrize("bad", ["a\r\nX: y", "a\nb", "a\rb", "a\0b", "\n", "a\r\n"])
def test_a_value_that_would_be_another_header_is_refused(bad: str) -> None:
    with pytest.raises(ConfigError, match="'X-TC-Token'") as caught:
        request_bytes({**HEADERS, "X-TC-Token": f"secret{bad}"}, b"")
    assert "secret" not in f"{caught.value!r} {caught.value.hint}"
    with pytest.raises(ConfigError):
        RequestTemplate({"X-TC-Token": bad})


def test_values_whose_flaws_cancel_out_are_refused() -> None:
    with pytest.raises(ValueError, match="no name"):
        request_bytes([("A: b\r\nC", "d"), ("E", "f")], b"")
    with pytest.raises(ConfigError):
        request_bytes([("A", "\r"), ("B", "\n")], b"")


@pytest.mark.parametrize(
    "name", ["", "a b", "a:", "a\r\nb", "ä", "Content-Length", "transfer-encoding"]
)
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises((ValueError, ConfigError)):
        request_bytes({name: "x"}, b"")
