"""The headers of a signed request: those that all requests of an action share, and its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from batchkms.kms.http1.requests import RequestTemplate


class SignedHeaders(Mapping[str, str]):
    """Headers as a mapping, for any HTTP library, and as bytes, for our own connections.

    `shared` is the same dictionary for all requests with one `template`; `own` comes after it.
    """

    __slots__ = ("_own", "_shared", "_template")

    def __init__(
        self, shared: Mapping[str, str], template: RequestTemplate, own: list[tuple[str, str]]
    ) -> None:
        self._shared = shared
        self._template = template
        self._own = own

    def request_bytes(self, body: bytes) -> bytes:
        """The whole request. Raises ConfigError for a value that cannot be sent."""
        return self._template.request_bytes(self._own, body)

    def as_dict(self) -> dict[str, str]:
        """All of them."""
        return {**self._shared, **dict(self._own)}

    def __getitem__(self, name: str) -> str:
        return self.as_dict()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.as_dict())

    def __len__(self) -> int:
        return len(self._shared) + len(self._own)

    def __repr__(self) -> str:
        # One of them may be a session token.
        return f"SignedHeaders({', '.join(self)})"
