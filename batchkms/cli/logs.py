"""Log lines on stderr, as text or JSON. Only our own loggers are shown."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from batchkms.cli.main import printable
from batchkms.cli.streams import say


class _StderrHandler(logging.Handler):
    """Writes to whatever stderr is now: a live display replaces it while it is drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record))


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        return f"batchkms: {level}{printable(record.getMessage())}"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        return ascii_json(line).decode()


def ascii_json(value: object) -> bytes:
    """JSON in ASCII alone: a control character in it must not reach a terminal."""
    return json.dumps(value, separators=(",", ":")).encode()


def log_to_stderr(*, level: str, log_format: str) -> None:
    """Sets up logging for a command."""
    handler = _StderrHandler()
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    ours = logging.getLogger("batchkms")
    ours.handlers[:] = [handler]
    ours.setLevel(level.upper())
    ours.propagate = False
