"""What `vault kv get -format=json` prints, for the KV secrets engine in version 1 and 2."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import orjson

from batchkms.sources.profiles.entries import Entry, Flaw, Secret
from batchkms.sources.profiles.json import WrongKind, decoded

_V2_MEMBERS = {"data", "metadata"}
_NO_ANSWER = "it is no answer of Vault to `kv get`"
_NULL = b"null"


class _Answer(msgspec.Struct):
    request_id: str
    data: dict[str, msgspec.Raw] | None = None
    path: str = ""


class _Metadata(msgspec.Struct):
    created_time: str
    version: int


class VaultKv:
    """Where the secrets are in it (`json.Layout`)."""

    hint = "write the answers one after the other: vault kv get -format=json PATH >> FILE"

    def __init__(self) -> None:
        self._answers = 0

    def entries(self, document: bytearray) -> Iterator[Entry | Flaw]:
        """Yields an entry for each answer: the document itself, or each element of an array.

        Raises WrongKind if the first one is no such answer.
        """
        if not document.startswith(b"["):
            yield self._entry(document, "")
            return
        answers = decoded(document, list[msgspec.Raw], otherwise=_NO_ANSWER)
        for i, raw in enumerate(answers):
            place = f"[{i}]"
            try:
                entry = self._entry(raw, place)
            except WrongKind as problem:
                if not i:
                    raise
                yield Flaw(place, "InvalidEntry", f"{problem}; {self.hint}")
            else:
                yield entry

    def unfinished(self) -> str | None:
        """Nothing: an answer is always whole."""
        return None

    def _entry(self, document: bytearray | msgspec.Raw, place: str) -> Entry:
        self._answers += 1
        answer = decoded(document, _Answer, otherwise=_NO_ANSWER)
        if answer.data is None:
            raise WrongKind("it is an answer of Vault without data")
        name = answer.path.strip("/") or str(self._answers)
        place = f"{place}.data" if place else "data"
        if _is_version_2(answer.data):
            return Entry(name, _of_version_2(answer.data["data"], f"{place}.data"))
        return Entry(name, _secrets(answer.data, place))


def _is_version_2(data: dict[str, msgspec.Raw]) -> bool:
    if set(data) != _V2_MEMBERS:
        return False
    try:
        msgspec.json.decode(data["metadata"], type=_Metadata)
        return bytes(memoryview(data["data"])[:1]) in (b"{", b"n")
    except (ValueError, RecursionError):
        # Two secrets of version 1 that happen to have these names.
        return False


def _of_version_2(raw: msgspec.Raw, place: str) -> Iterator[Secret | Flaw]:
    if bytes(raw) == _NULL:
        return  # This version of the secret was deleted.
    try:
        data = decoded(raw, dict[str, msgspec.Raw], otherwise=_NO_ANSWER)
    except WrongKind as problem:
        yield Flaw(place, "InvalidJson", f"{problem}; export the entry anew")
    else:
        yield from _secrets(data, place)


def _secrets(data: dict[str, msgspec.Raw], place: str) -> Iterator[Secret | Flaw]:
    for number, (key, raw) in enumerate(data.items(), 1):
        # The key is in the id; a message names none, as a wrong document may have any.
        at = f"{place}, member {number}"
        try:
            yield Secret(at, key, _value(raw))
        except (ValueError, RecursionError):
            # The parser's own error may hold the value.
            yield Flaw(at, "InvalidJson", "this is no valid JSON in UTF-8; export the entry anew")


def _value(raw: msgspec.Raw) -> str | bytes | None:
    """A string as it is, any other value as its compact JSON, with its numbers as written."""
    text = bytes(raw)
    if text.startswith(b'"'):
        value = orjson.loads(text)
        return value if type(value) is str else None
    if text == _NULL:
        return None
    compact: bytes = msgspec.json.format(text, indent=-1)
    compact.decode()
    return compact
