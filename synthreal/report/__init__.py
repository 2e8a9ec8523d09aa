"""The HTML page about a run."""

from synthreal.report.document import write_report

__all__ = ["write_report"]
