"""How commands show runs: a page, and a table in the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def present(folders: list[Path], page: Path, title: str | None, quiet: bool) -> dict[str, Any]:
    """Writes the report, and prints the table unless standard output is for JSON.

    Args:
        folders: Of the runs.
        page: Where the report goes.
        title: The report's.
        quiet: Whether standard output is for JSON.
    """
    from rich.console import Console

    from fedsonar.report.page import write_report
    from fedsonar.report.terminal import print_comparison

    write_report(folders, page, title)
    if not quiet:
        console = Console()
        print_comparison(folders, console)
        console.print(f"Report: [link={page.resolve().as_uri()}]{page}[/link]", highlight=False)
    runs = {folder.name: json.loads((folder / "summary.json").read_text()) for folder in folders}
    return {"report": str(page), "runs": runs}
