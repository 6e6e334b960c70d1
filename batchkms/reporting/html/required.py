"""Whether reports can be made at all, which is known before a test begins."""

from __future__ import annotations

import importlib.util

from batchkms.errors import ConfigError


def require_report() -> None:
    """Raises ConfigError unless what plots are made with is installed. Imports nothing."""
    if importlib.util.find_spec("plotly") is None:
        raise ConfigError(
            "a report needs plotly, which is not installed",
            hint="pip install 'batchkms[report]'",
        )
