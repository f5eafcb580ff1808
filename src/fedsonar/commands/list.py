"""``fedsonar list``: what it prints."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

DESCRIPTION = (
    "Lists data sources, partitioners, templates, triggers, targets, placements, screens and aggregation rules, "
    "installed plugins included, with their parameters and their papers."
)
EXAMPLES = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments: it has none of its own."""


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Lists every component."""
    from fedsonar.components import components

    found = components()
    if not options.json:
        from rich.console import Console
        from rich.markup import escape

        console = Console(highlight=False)
        for section in dict.fromkeys(component.section for component in found):
            console.print(f"\n[bold]{section}[/bold]")
            for component in (c for c in found if c.section == section):
                console.print(f"  [cyan]{component.class_path}[/cyan]  {escape(component.summary)}")
                if component.parameters:
                    shown = ", ".join(f"{n}={v!r}" for n, v in component.parameters.items())
                    console.print(f"      [dim]{escape(shown)}[/dim]")
                if component.reference:
                    console.print(f"      [dim]{escape(component.reference)}[/dim]")
    return [asdict(component) for component in found]
