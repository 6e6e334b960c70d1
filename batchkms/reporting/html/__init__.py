"""Reports as one HTML file each, which open in any browser with no network at all."""

from batchkms.reporting.html.required import require_report

__all__ = ["require_report"]
