"""What `aws secretsmanager get-secret-value` and `batch-get-secret-value` print."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from batchkms.sources.profiles.entries import Entry, Flaw, Secret
from batchkms.sources.profiles.json import WrongKind, as_object, decoded, text_of

_NO_ANSWER = "it is no answer of AWS Secrets Manager that holds secrets"


class _Answer(msgspec.Struct):
    SecretValues: list[msgspec.Raw] | None = None
    Errors: list[msgspec.Raw] | None = None
    NextToken: str | None = None
    ARN: str | None = None
    SecretString: Any = msgspec.UNSET
    SecretBinary: Any = msgspec.UNSET

    @property
    def is_one_secret(self) -> bool:
        """Whether this is the answer to `get-secret-value`."""
        values = (self.SecretString, self.SecretBinary)
        return self.ARN is not None and values != (msgspec.UNSET, msgspec.UNSET)

    def __repr__(self) -> str:
        return "_Answer()"


class AwsSecretsManager:
    """Where the secrets are in it (`json.Layout`)."""

    hint = (
        "write it with: aws secretsmanager batch-get-secret-value --output json …, or "
        "get-secret-value --output json for each secret, one after the other"
    )

    def __init__(self) -> None:
        self._secrets = 0
        self._unfinished: str | None = None

    def entries(self, document: bytearray) -> Iterator[Entry | Flaw]:
        """Yields an entry for each secret, and a flaw for each that AWS could not give.

        Raises WrongKind for another document, or an array whose first element is another.
        """
        if not document.startswith(b"["):
            yield from self._of_answer(document, "")
            return
        answers = decoded(document, list[msgspec.Raw], otherwise=_NO_ANSWER)
        for i, raw in enumerate(answers):
            try:
                yield from self._of_answer(raw, f"[{i}]")
            except WrongKind as problem:
                if not i:
                    raise
                yield Flaw(f"[{i}]", "InvalidEntry", f"{problem}; {self.hint}")

    def unfinished(self) -> str | None:
        """The last answer's token for the next page, if it has one."""
        return self._unfinished

    def _of_answer(self, document: bytearray | msgspec.Raw, place: str) -> Iterator[Entry | Flaw]:
        answer = decoded(document, _Answer, otherwise=_NO_ANSWER)
        dot = f"{place}." if place else ""
        self._unfinished = f"{dot}NextToken" if answer.NextToken else None
        if answer.is_one_secret:
            yield self._entry(msgspec.Raw(document), place)
            return
        if answer.SecretValues is None:
            raise WrongKind(_NO_ANSWER)
        for i, raw in enumerate(answer.SecretValues):
            yield self._entry(raw, f"{dot}SecretValues[{i}]")
        for i, raw in enumerate(answer.Errors or ()):
            yield _not_given(raw, f"{dot}Errors[{i}]")

    def _entry(self, raw: msgspec.Raw, place: str) -> Entry | Flaw:
        self._secrets += 1
        secret = as_object(raw, place)
        if isinstance(secret, Flaw):
            return secret
        name = text_of(secret.get("Name")) or text_of(secret.get("ARN"))
        return Entry(name or f"secret-{self._secrets}", _values(secret, place))


def _values(secret: dict[str, Any], place: str) -> Iterator[Secret | Flaw]:
    dot = f"{place}." if place else ""
    string, binary = secret.get("SecretString"), secret.get("SecretBinary")
    if string is None and binary is None:
        reason = "there is neither SecretString nor SecretBinary; export the entry anew"
        yield Flaw(place, "MissingPlaintext", reason)
    yield Secret(f"{dot}SecretString", "", string)
    label = "" if string is None else "SecretBinary"
    yield Secret(f"{dot}SecretBinary", label, binary, is_base64=True)


def _not_given(raw: msgspec.Raw, place: str) -> Entry | Flaw:
    """A row that fails, so that a secret which is missing is not missed."""
    error = as_object(raw, place)
    if isinstance(error, Flaw):
        return error
    reason = "AWS did not give this secret; look up its ErrorCode there and get it alone"
    return Entry(text_of(error.get("SecretId")), [Flaw(place, "MissingPlaintext", reason)])
