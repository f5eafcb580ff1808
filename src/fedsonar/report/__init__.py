"""What a run looked like: a self-contained HTML page, and a table for the terminal."""

from fedsonar.report.page import write_report
from fedsonar.report.terminal import comparison_table, feature_table

__all__ = ["comparison_table", "feature_table", "write_report"]
