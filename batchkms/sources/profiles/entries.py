"""From the entries of an export, each with any number of secrets, to rows with ids of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from batchkms.records import MAX_ID_CHARACTERS, Record, Result, rejected
from batchkms.sources.mapping import Unusable, from_base64, kind_of, too_large


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret of an entry: where it stands, what it is called there, and its value.

    A value that is None or empty is no secret. Text becomes its UTF-8, unless it `is_base64`.
    """

    place: str
    label: str
    value: object = field(repr=False)
    is_base64: bool = False


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something in an entry that cannot be read, and may have been a secret."""

    place: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an export: its name there, folders and all, and what it holds."""

    name: str
    secrets: Iterable[Secret | Flaw] = field(repr=False)


class Names:
    """Tells names apart: one that was given out before gets a `#2`, the next one `#3`.

    It holds a hash of eight bytes for each name, so that long names cost no more than short
    ones. Were two of them ever alike, a name would get a number that it does not need.
    """

    def __init__(self) -> None:
        self._times: dict[bytes, int] = {}

    def apart(self, name: str) -> str:
        """The name, or with a number the first such one that was not given out yet."""
        times, key = self._times, _hash(name)
        if key not in times:
            times[key] = 1
            return name
        while True:
            times[key] += 1
            numbered = f"{name}#{times[key]}"
            if (other := _hash(numbered)) not in times:
                times[other] = 1
                return numbered


class EntryRows:
    """Makes the rows of the entries of one input.

    The id of a secret is the name of its entry and its label with a slash between them, or
    the name alone where the label is empty. Both are told apart from those before them, and
    a label holds no slash, so that no two secrets of an input have the same id.
    """

    def __init__(self, *, max_plaintext_bytes: int) -> None:
        self._max_plaintext_bytes = max_plaintext_bytes
        self._names = Names()

    def rows(self, entry: Entry, *, seq: int) -> Iterator[Record | Result]:
        """Yields a row for each secret that is not empty; the first is number `seq` + 1."""
        name: str | None = None
        labels = Names()
        for secret in entry.secrets:
            if isinstance(secret, Secret) and secret.value in (None, "", b""):
                continue
            seq += 1
            if isinstance(secret, Flaw):
                yield flawed(seq, secret, entry_name=entry.name)
                continue
            if name is None:
                name = self._names.apart(entry.name)
            label = labels.apart(secret.label.replace("/", "%2F"))
            yield self._row(seq, f"{name}/{label}" if label else name, secret)

    def _row(self, seq: int, row_id: str, secret: Secret) -> Record | Result:
        known_id: str | None = None
        try:
            if len(row_id) > MAX_ID_CHARACTERS:
                raise Unusable(
                    "InvalidId",
                    f"the id made of its names has {len(row_id):,} characters, more than "
                    f"{MAX_ID_CHARACTERS:,}; shorten the name of the entry",
                )
            known_id = row_id
            plaintext = _plaintext(secret)
            if len(plaintext) > self._max_plaintext_bytes:
                raise too_large(plaintext, self._max_plaintext_bytes)
            return Record(seq=seq, id=row_id, plaintext=plaintext)
        except Unusable as problem:
            return rejected(seq, known_id, problem.code, f"{secret.place}: {problem.reason}")


def flawed(seq: int, flaw: Flaw, *, entry_name: str = "") -> Result:
    """The row that stands for something that cannot be read."""
    row_id = entry_name if len(entry_name) <= MAX_ID_CHARACTERS else None
    return rejected(seq, row_id, flaw.code, f"{flaw.place or 'the document'}: {flaw.reason}")


def wrong_type(place: str, value: object, expected: str) -> Flaw:
    """The flaw of a member that should be `expected`, such as `an object`, and is not."""
    found = "a string" if isinstance(value, str) else kind_of(value)
    return Flaw(place, "InvalidEntry", f"this is {found}, not {expected}; export the entry anew")


def _plaintext(secret: Secret) -> bytes:
    value = secret.value
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise Unusable(
            "InvalidPlaintext",
            f"the secret is {kind_of(value)} and not a string; export the entry anew",
        )
    if not secret.is_base64:
        return value.encode()
    data = from_base64(value)
    if data is None:
        raise Unusable(
            "InvalidPlaintext",
            "the secret is no base64 in the standard alphabet with its padding; "
            "export the entry anew",
        )
    return data


def _hash(name: str) -> bytes:
    return blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()
