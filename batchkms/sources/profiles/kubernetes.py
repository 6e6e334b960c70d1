"""What `kubectl get secrets -o json` prints: a List of Secrets, or one Secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from batchkms.sources.profiles.entries import Entry, Flaw, Secret, wrong_type
from batchkms.sources.profiles.json import WrongKind, as_object, decoded, text_of

_NO_SECRETS = "it is neither a Kubernetes Secret nor a List of them"


class _Metadata(msgspec.Struct, rename={"continued": "continue"}):
    continued: str | None = None


class _Document(msgspec.Struct):
    kind: str
    items: list[msgspec.Raw] | None = None
    metadata: _Metadata | None = None


class KubernetesSecrets:
    """Where the secrets are in it (`json.Layout`)."""

    hint = "write it with: kubectl get secrets --all-namespaces -o json"

    def __init__(self) -> None:
        self._unfinished: str | None = None

    def entries(self, document: bytearray) -> Iterator[Entry | Flaw]:
        """Yields an entry for each Secret. Objects of another kind beside them are passed over.

        Raises WrongKind for another document, or a List without a single Secret.
        """
        top = decoded(document, _Document, otherwise=_NO_SECRETS)
        self._unfinished = None
        if top.kind == "Secret":
            yield _entry(as_object(msgspec.Raw(document), ""), "", "secret-1")
            return
        if top.items is None or top.kind not in ("List", "SecretList"):
            raise WrongKind(_NO_SECRETS)
        self._unfinished = "metadata.continue" if top.metadata and top.metadata.continued else None
        found = False
        for i, raw in enumerate(top.items):
            item = as_object(raw, f"items[{i}]")
            # The items of a SecretList do not say their kind.
            kind = None if isinstance(item, Flaw) else item.get("kind")
            if kind in (None, "Secret"):
                found = True
                yield _entry(item, f"items[{i}]", f"secret-{i + 1}")
        if top.items and not found:
            raise WrongKind("it is a Kubernetes List without a Secret")

    def unfinished(self) -> str | None:
        """The last List's token for its next page, if it has one."""
        return self._unfinished


def _entry(item: dict[str, Any] | Flaw, place: str, otherwise: str) -> Entry | Flaw:
    if isinstance(item, Flaw):
        return item
    metadata = item.get("metadata")
    known = metadata if type(metadata) is dict else {}
    namespace, name = text_of(known.get("namespace")), text_of(known.get("name"))
    dot = f"{place}." if place else ""
    return Entry("/".join(filter(None, (namespace, name or otherwise))), _values(item, dot))


def _values(item: dict[str, Any], dot: str) -> Iterator[Secret | Flaw]:
    for member, is_base64 in (("data", True), ("stringData", False)):
        values = item.get(member)
        if type(values) is dict:
            for number, (key, value) in enumerate(values.items(), 1):
                # The key is in the id; a message names none, as a wrong document may have any.
                at = f"{dot}{member}, member {number}"
                yield Secret(at, key, value, is_base64=is_base64)
        elif values is not None:
            yield wrong_type(f"{dot}{member}", values, "an object")
