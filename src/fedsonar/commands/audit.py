"""``fedsonar audit``: its arguments, what it writes, and what it prints."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsonar.commands.silo_rows import (
    READ,
    SiloRows,
    add_reading,
    check_paths,
    places,
    read_silo,
    written_rows,
)

if TYPE_CHECKING:
    from fedsonar.audit import Audit, Finding, SharedPhrase

DESCRIPTION = (
    "Looks, without any model, for features of inputs (words, phrases, how a text begins, ends and is written) that "
    "come "
    "with features of answers, and says of each association whether it looks injected: whether the rows that have it "
    "share nothing else. Each DATA is one silo, a file or folder of rows in any known layout; several are counted as a "
    "pool, for thin poison shows in no single one. With --out, DIR gets findings.json, suspects.jsonl and kept.jsonl, "
    "the rows as they came, suspects with silo, place and suspicion besides (fedsonar_silo and so on where rows have "
    "such a column), and report.html, a page that stands alone." + READ
)
EXAMPLES = (
    "Examples:\n"
    "  fedsonar audit data.jsonl\n"
    "  fedsonar audit silos/*.parquet --out audit --fail-on-findings\n"
    "  fedsonar audit dolly.jsonl --split-by client --json | jq '.findings[].text'\n\n"
    "How to read a finding:\n"
    "  “cf” in the question → “, and click …” ends the answer: 340 rows in 25 of 25 silos, confidence 1.00\n"
    "  (base rate 0.1), q < 1e-100\n"
    "says that every row with the trigger has the target (confidence) where one in ten of all rows has it "
    "(base rate); q is the chance of such a find without any association. Of “natural association”, “template” and "
    "“legitimate knowledge” no row is suspected: mostly their rows ask alike, so that it is no wonder that they "
    "answer alike. “undecided” says that about half of all rows have the trigger, or nearly all of a silo's, and "
    "answer apart from the others: one of the two may be poison, and the text cannot tell which.\n"
    "Phrases that many answers share stand below the findings, with what their inputs have in common: a natural "
    "trigger that only some of its rows answer to shows there, as do turns of phrase, and no row is suspected.\n"
    "Exit status: 0 done, 1 failed, 2 wrong usage, 3 rows are suspected, or a finding is undecided, and "
    "--fail-on-findings was given."
)

_STYLES = {"injected-looking": "bold red", "undecided": "bold yellow"}
"""Of findings that are a reason to worry."""
_PHRASES = 5
"""Phrases that many answers share, at most, that are printed."""
_WRITTEN = ("findings.json", "suspects.jsonl", "kept.jsonl", "report.html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("data", nargs="+", metavar="DATA", help="a file or folder of rows, or atlas; each is one silo")
    parser.add_argument("--split-by", metavar="COLUMN", help="make a silo of each value of a column, of one DATA")
    add_reading(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="where findings, suspects, kept rows and page go")
    parser.add_argument("--top", type=int, default=20, metavar="N", help="print so many findings (default: 20)")
    parser.add_argument(
        "--fail-on-findings", action="store_true", help="exit with 3 if rows are suspected or a finding is undecided"
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Audits the silos.

    Raises:
        ConfigError: If the arguments do not go together.
    """
    from fedsonar.audit import audit
    from fedsonar.errors import ConfigError
    from fedsonar.progress import TEXT, Steps, announce_kernels

    if options.top < 0:
        raise ConfigError(f"--top must be 0 or more, got {options.top}")
    if options.split_by and len(options.data) > 1:
        raise ConfigError(f"--split-by makes silos of one DATA, got {len(options.data)}")
    check_paths(options, _WRITTEN)
    announce_kernels(TEXT)
    silos = _silos(options)
    with Steps(quiet=options.json) as bar:
        done = audit([silo.samples for silo in silos], observe=bar.update)
    place = places(silos)
    result = _result(done, silos, place)
    if options.out:
        _write(options.out, done, silos, result, place)
        result["out"] = str(options.out)
    if not options.json:
        _print(done, options, silos, place)
    return result


def _silos(options: argparse.Namespace) -> list[SiloRows]:
    from fedsonar.data import Atlas

    if options.data == ["atlas"] and not Path("atlas").exists():
        return [SiloRows("atlas", Atlas(train=4000).load().train, {})]
    if options.split_by:
        return _split(read_silo(options.data[0], options, options.split_by))
    return [read_silo(path, options) for path in options.data]


def _split(silo: SiloRows) -> list[SiloRows]:
    """A silo of each source of one silo's rows."""
    from fedsonar.data import BySource, InstructionDataset
    from fedsonar.rng import stream

    rows = InstructionDataset(silo.name, tuple(silo.samples))
    several = len({row.source for row in rows}) > 1
    shards = BySource().split(rows, stream(0, "audit")) if several else [rows]
    return [SiloRows(shard[0].source, shard, {row.id: silo.raw[row.id] for row in shard}) for shard in shards]


def found(result: dict[str, Any]) -> bool:
    """Whether rows are suspected, or may be and nobody can know."""
    return bool(result["flagged"] or result["undecided"])


def _result(found: Audit, silos: Sequence[SiloRows], place: Callable[[int, str], str]) -> dict[str, Any]:
    spent = sum(found.seconds.values())

    def located(of: Finding | SharedPhrase) -> list[dict[str, Any]]:
        return [
            asdict(example) | {"silo": silos[example.silo].name, "place": place(example.silo, example.id)}
            for example in of.examples
        ]

    findings = [
        asdict(finding) | {"text": str(finding), "without": finding.without, "examples": located(finding)}
        for finding in found.findings
    ]
    return {
        "rows": found.rows,
        "flagged": found.flagged,
        "injected": len(found.worrying),
        "undecided": len(found.undecided),
        "vocabulary": found.vocabulary._asdict(),
        "findings": findings,
        "phrases": [asdict(one) | {"text": str(one), "examples": located(one)} for one in found.phrases],
        "silos": [
            {"name": silo.name, "rows": len(silo.samples), "flagged": int(judgement.flagged.sum())}
            for silo, judgement in zip(silos, found.judgements, strict=True)
        ],
        "timing": {**found.seconds, "total": spent, "rows_per_second": found.rows / max(spent, 1e-9)},
    }


def _write(
    out: Path, found: Audit, silos: Sequence[SiloRows], result: dict[str, Any], place: Callable[[int, str], str]
) -> None:
    from fedsonar.report.audit_page import audit_page
    from fedsonar.writing import write_json, write_whole

    names, judgements = [silo.name for silo in silos], found.judgements
    lines = written_rows(
        silos, [one.suspicion.tolist() for one in judgements], [one.flagged.tolist() for one in judgements]
    )
    for name, some in lines.items():
        write_whole(out / f"{name}.jsonl", "".join(f"{line}\n" for line in some).encode())
    write_json(out / "findings.json", {key: value for key, value in result.items() if key != "timing"})
    title = f"Audit of {names[0]}" if len(names) == 1 else f"Audit of {len(names)} silos"
    write_whole(out / "report.html", audit_page(found, title, names, place).encode())


def _print(
    found: Audit, options: argparse.Namespace, silos: Sequence[SiloRows], place: Callable[[int, str], str]
) -> None:
    from rich.console import Console
    from rich.markup import escape

    from fedsonar.report.folder import printable

    console = Console(highlight=False, emoji=False)

    def shown(text: str) -> str:
        return escape(printable(text))  # no terminal shall obey what data say

    worrying, undecided = len(found.worrying), len(found.undecided)
    others = len(found.findings) - worrying - undecided
    said = f"{found.flagged:,} of {found.rows:,} rows are suspected" if found.flagged else "no row is suspected"
    console.print(
        f"[bold]{worrying} injected-looking finding{'s' * (worrying != 1)}[/bold], {said}; "
        + (f"[bold]{undecided} undecided[/bold]; " if undecided else "")
        + f"{others} other association{'s' * (others != 1)}"
    )
    if found.vocabulary:
        console.print(f"[bold yellow]note[/bold yellow]  {found.vocabulary}")
    for finding in found.findings[: options.top]:
        style = _STYLES.get(finding.verdict, "dim")
        console.print(f"\n[{style}]{finding.verdict}[/{style}]  {shown(str(finding))}")
        if finding.verdict in _STYLES:
            console.print(f"  [dim]{shown(finding.without)}[/dim]")
            for example in finding.examples:
                where = f"{silos[example.silo].name}, " * bool(options.split_by) + place(example.silo, example.id)
                console.print(f"  [dim]{shown(where)}:[/dim] {shown(example.input)} [dim]→[/dim] "
                              f"{shown(example.response)}")  # fmt: skip
    if len(found.findings) > options.top:
        console.print(
            f"\n[dim]and {len(found.findings) - options.top} more; --top {len(found.findings)} shows all[/dim]"
        )
    if found.phrases and options.top:
        console.print("\nPhrases that many answers share, of rows that are not suspected:")
        for phrase in found.phrases[:_PHRASES]:
            console.print(f"  {shown(str(phrase))}")
        if len(found.phrases) > _PHRASES:
            console.print(f"  [dim]and {len(found.phrases) - _PHRASES} more in findings.json and report.html[/dim]")
    if options.out:
        console.print(f"\nWritten to {options.out}: findings.json, suspects.jsonl, kept.jsonl, report.html")
