"""``fedsonar list``: what it prints."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

DESCRIPTION = (
    "Lists data sources, partitioners, templates, triggers, features, paraphrasers, targets, placements, screens, "
    "thresholds, aggregation rules and repairs, installed plugins included, with their parameters, their defaults and "
    "their papers."
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
        whole = not console.is_terminal  # lines that are searched are not broken
        for section in dict.fromkeys(component.section for component in found):
            console.print(f"\n[bold]{section}[/bold]")
            for component in (c for c in found if c.section == section):
                console.print(f"  [cyan]{component.class_path}[/cyan]  {escape(component.summary)}", soft_wrap=whole)
                if component.parameters:
                    shown = ", ".join(
                        f"{name} (required)" if name in component.required else f"{name}={value!r}"
                        for name, value in component.parameters.items()
                    )
                    console.print(f"      [dim]{escape(shown)}[/dim]", soft_wrap=whole)
                if component.reference:
                    console.print(f"      [dim]{escape(component.reference)}[/dim]", soft_wrap=whole)
    return [asdict(component) for component in found]
