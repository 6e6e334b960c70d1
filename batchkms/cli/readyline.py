"""The ready line of `batchkms emulator`: what it says, and the file that holds it as well."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from batchkms.emulator import Emulator
from batchkms.errors import ConfigError


def ready_fields(server: Emulator) -> dict[str, Any]:
    """What a client has to know, and where there are: the CA file and the token."""
    fields = {
        "endpoint": server.endpoint,
        "region": server.region,
        "secret_id": server.secret_id,
        "secret_key": server.secret_key,
        "key_id": server.demo_key_id,
    }
    if server.ca_file is not None:
        fields["ca_file"] = str(server.ca_file)
    if server.token is not None:
        fields["token"] = server.token
    return fields


def announce(fields: dict[str, Any], ready_file: str | None) -> None:
    """Says on stdout, and in a file if there is one, that it listens. Raises ConfigError."""
    line = orjson.dumps(fields).decode()
    if ready_file is not None:
        _write_private(Path(ready_file), line)
    print(line, flush=True)


def _write_private(path: Path, line: str) -> None:
    """Writes a line to a file that only its owner can read, whole or not at all."""
    if path.exists() and not path.is_file():
        # What is renamed over a device or a pipe would take its place.
        raise ConfigError(
            f"the ready file {path} is no plain file", hint="name a file that may be replaced"
        )
    temporary = None
    try:
        # mkstemp gives mode 0600.
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(line + "\n")
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
        raise ConfigError(
            f"the ready file {path} cannot be written: {error.strerror}",
            hint="name a file in a directory that you may write to",
        ) from None
