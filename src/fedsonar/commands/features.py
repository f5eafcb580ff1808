"""``fedsonar features``: its arguments, and what it prints."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

DESCRIPTION = (
    "Lists features that rows have by themselves (question words, phrases, kinds of names, length, formatting, "
    "script, language, source), so that one with a wanted frequency can be picked as a natural trigger. DATA is a "
    "file or folder of rows, or 'atlas' for the embedded world."
)
EXAMPLES = (
    "Examples:\n  fedsonar features atlas --rate 0.08\n"
    "  fedsonar features data/dolly15k --source-field category --least 0.02 --most 0.2 --top 60"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("data", metavar="DATA", help="a file or folder of rows, or atlas")
    parser.add_argument("--source-field", metavar="COLUMN", help="the column that says where a row came from")
    parser.add_argument("--least", type=float, default=0.01, metavar="SHARE", help="least share of rows (default: .01)")
    parser.add_argument("--most", type=float, default=0.5, metavar="SHARE", help="greatest share (default: .5)")
    parser.add_argument("--rate", type=float, metavar="SHARE", help="sort by distance from this share of rows")
    parser.add_argument("--top", type=int, default=40, metavar="N", help="show so many (default: 40)")


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Finds the features.

    Raises:
        ConfigError: If a number makes no sense.
    """
    import tomli_w

    from fedsonar.data import Atlas, Files, candidates
    from fedsonar.errors import ConfigError
    from fedsonar.experiment import to_config
    from fedsonar.poison import Natural

    if options.top < 0:
        raise ConfigError(f"--top must be 0 or more, got {options.top}")
    if not 0 <= options.least <= options.most <= 1:
        raise ConfigError(f"shares must be 0 <= least <= most <= 1, got {options.least:g} and {options.most:g}")
    if options.rate is not None and not 0 <= options.rate <= 1:
        raise ConfigError(f"--rate must be a share of rows, 0 to 1, got {options.rate:g}")
    if options.data == "atlas" and not Path("atlas").exists():
        rows = Atlas(train=4000).load().train
    else:
        named = {"source_field": options.source_field} if options.source_field else {}
        rows = Files(path=options.data, **named).rows()
    found = candidates(rows, least=options.least, most=options.most)
    if options.rate is not None:
        found.sort(key=lambda candidate: abs(candidate.share - options.rate))
    shown = found[: options.top]
    if not options.json:
        from rich.console import Console
        from rich.markup import escape

        from fedsonar.report.terminal import feature_table

        console = Console(highlight=False)
        console.print(feature_table(shown, f"{rows.name}: {len(rows):,} rows, {len(found):,} features"))
        if shown:
            trigger = {"attack": {"trigger": to_config(Natural(feature=shown[0].feature))}}
            console.print(f"\nThe first one as a trigger:\n\n{escape(tomli_w.dumps(trigger))}")
    return [asdict(c) | {"feature": to_config(c.feature)} for c in shown]
