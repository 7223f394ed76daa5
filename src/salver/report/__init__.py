"""Reports of a run: tables, plots and one self-contained page."""

from salver.report.tables import terminal_table
from salver.report.write import write_report

__all__ = ["terminal_table", "write_report"]
