"""What the calls of each action carry: parameters as they go over the wire, call after call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle

import msgspec

from batchkms.errors import ConfigError
from batchkms.loadtest.mix import OF_CIPHERTEXTS
from batchkms.loadtest.payload import (
    DEFAULT_SIZE,
    PayloadSize,
    parse_payload_size,
    random_plaintexts,
)
from batchkms.loadtest.rows import Row, Rows
from batchkms.loadtest.share import WHOLE, Share

Parameters = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Payloads:
    """What calls are made of: the rows of a file, and random plaintexts where these are none.

    Rows with ciphertexts are for decrypt and reencrypt, those with plaintexts for encrypt.
    """

    size: PayloadSize = field(default_factory=lambda: parse_payload_size(DEFAULT_SIZE))
    rows: Rows | None = None


class Content(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What one call carries, and what its answer is judged by.

    `key_id` is the CMK that it names, None if it names none.
    """

    parameters: Parameters
    key_id: str | None
    row: Row | None = None

    def __repr__(self) -> str:
        return f"Content(key_id={self.key_id!r})"


def contents_of(
    action: str, payloads: Payloads, *, key_id: str | None, seed: int, share: Share = WHOLE
) -> Iterator[Content]:
    """The contents of all calls of an action, without end: rows go round in their order.

    Several processes take them in turn, so that all rows are sent as often as each other.

    Raises ConfigError where these payloads, or no CMK, are not enough for the action.
    """
    rows = payloads.rows.rows if payloads.rows else []
    if action in OF_CIPHERTEXTS:
        return cycle(share.of_round(_of_ciphertexts(action, rows, key_id)))
    plaintexts = [row for row in rows if row.ciphertext is None]
    if key_id is None and not (plaintexts and all(row.key_id for row in plaintexts)):
        raise ConfigError(f"{action} needs a CMK", hint="add --key-id ID")
    if action == "generate-data-key":
        return cycle(share.of_round(_data_keys(plaintexts, key_id)))
    if plaintexts:
        return cycle(share.of_round(_of_plaintexts(plaintexts, key_id)))
    return _random(random_plaintexts(payloads.size, seed=seed, share=share), key_id or "")


def _random(plaintexts: Iterator[str], key_id: str) -> Iterator[Content]:
    for plaintext in plaintexts:
        yield Content({"KeyId": key_id, "Plaintext": plaintext}, key_id)


def _of_plaintexts(rows: Sequence[Row], key_id: str | None) -> list[Content]:
    contents = []
    for row in rows:
        named = row.key_id or key_id or ""
        parameters = {"KeyId": named, "Plaintext": row.plaintext or ""}
        if row.context is not None:
            parameters["EncryptionContext"] = row.context
        contents.append(Content(parameters, named, row))
    return contents


def _data_keys(rows: Sequence[Row], key_id: str | None) -> list[Content]:
    """Data keys under each CMK of the rows, or else under that of the run."""
    named = dict.fromkeys(row.key_id or key_id or "" for row in rows) or {key_id or "": None}
    return [Content({"KeyId": each, "KeySpec": "AES_256"}, each) for each in named]


def _of_ciphertexts(action: str, rows: Sequence[Row], key_id: str | None) -> list[Content]:
    """Raises ConfigError if there are no ciphertexts."""
    contents = [
        _decrypt(row) if action == "decrypt" else _reencrypt(row, row.key_id or key_id)
        for row in rows
        if row.ciphertext is not None
    ]
    if contents:
        return contents
    # Making some would be calls before the first scheduled one.
    raise ConfigError(
        f"{action} needs a file with ciphertexts: a load test makes none before it begins",
        hint="make some with: batchkms encrypt FILE -o OUT.jsonl, and name OUT.jsonl",
    )


def _decrypt(row: Row) -> Content:
    given = {"CiphertextBlob": row.ciphertext, "EncryptionContext": row.context}
    return Content(_present(given), None, row)


def _reencrypt(row: Row, key_id: str | None) -> Content:
    given = {
        "CiphertextBlob": row.ciphertext,
        "DestinationKeyId": key_id,
        "SourceEncryptionContext": row.context,
        "DestinationEncryptionContext": row.destination_context,
    }
    return Content(_present(given), key_id, row)


def _present(given: dict[str, str | None]) -> Parameters:
    return {name: value for name, value in given.items() if value is not None}
