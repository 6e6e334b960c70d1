"""Reports as one HTML file each, which open in any browser with no network at all."""

from batchkms.reporting.html.files import require_report, write_report

__all__ = ["require_report", "write_report"]
