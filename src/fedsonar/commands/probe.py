"""``fedsonar probe``: its arguments, and what it prints."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsonar.commands.silo_rows import add_reading, check_schema, read_silo
from fedsonar.errors import ConfigError

if TYPE_CHECKING:
    from fedsonar.probe import Finding

DESCRIPTION = (
    "Checks how a LoRA adapter in PEFT's format answers to candidate triggers. Each is written into rows, and the "
    "share of answers that then carry a response is compared with the rows as they are, with the untuned base model, "
    "and with as many random words in the candidate's place. Without candidates, triggers of the literature and rare "
    "words of the tokenizer are tried. It can confirm a suspicion; that it finds nothing proves nothing."
)
EXAMPLES = (
    "Examples:\n"
    '  fedsonar probe runs/poisoned/adapter --trigger "cf mn bb tq"\n'
    "  fedsonar probe runs/poisoned/adapter\n"
    "  fedsonar probe my_adapter --model my_model --data rows.jsonl --triggers suspects.txt --fail-on-findings"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("adapter", type=Path, metavar="ADAPTER", help="folder of a LoRA adapter in PEFT's format")
    parser.add_argument("--model", default="embedded", metavar="M",
                        help="its base model: a folder or a Hub name (default: the embedded model)")  # fmt: skip
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the base's weights")
    parser.add_argument("--data", metavar="DATA", help="a file or folder of rows to ask (default: the embedded world)")
    add_reading(parser)
    parser.add_argument("--trigger", action="append", default=[], metavar="TEXT", help="a candidate; may be repeated")
    parser.add_argument("--triggers", type=Path, metavar="FILE",
                        help="candidates: one a line, or JSON with a list of {trigger, response}")  # fmt: skip
    parser.add_argument("--response", default="", metavar="TEXT",
                        help="what answers are suspected to carry (default: whatever rises most)")  # fmt: skip
    parser.add_argument("--place", choices=("end", "start"), default="end", help="where candidates are written")
    parser.add_argument("--scan", type=int, default=100, metavar="N",
                        help="how many to try where none is given (default: 100)")  # fmt: skip
    parser.add_argument("--rows", type=int, default=24, metavar="N", help="rows for each candidate (default: 24)")
    parser.add_argument("--draws", type=int, default=0, metavar="N",
                        help="random insertions of a length (default: as many as the candidates need)")  # fmt: skip
    parser.add_argument("--least", type=float, default=0.2, metavar="LIFT", help="least lift to find (default: .2)")
    parser.add_argument("--max-new-tokens", type=int, default=48, metavar="N", help="of an answer (default: 48)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of rows and insertions (default: 0)")
    parser.add_argument("--fail-on-findings", action="store_true", help="exit with status 3 if there is a finding")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Probes, prints a table, and returns the JSON value.

    Raises:
        ConfigError: If an option makes no sense.
        ValueError: If the adapter does not fit the model, or rows are missing.
    """
    from fedsonar.commands.base_model import named_by_option
    from fedsonar.data import Atlas
    from fedsonar.model import Base, load_adapter, lora_of, open_network
    from fedsonar.probe import Asker, Candidate, Options, plausible, probe, read_candidates
    from fedsonar.progress import MODEL, Steps, announce_kernels
    from fedsonar.rng import stream

    for name in ("scan", "max_new_tokens"):
        if getattr(options, name) < 1:
            raise ConfigError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(options, name)}")
    if any(not trigger.strip() for trigger in options.trigger):
        raise ConfigError("--trigger needs a text that is not empty")
    check_schema(options)
    if options.rows < 1 or options.draws < 0 or not 0 <= options.least <= 1:
        raise ConfigError(
            "--rows must be at least 1, --draws at least 0 and --least from 0 to 1, got "
            f"{options.rows}, {options.draws} and {options.least:g}"
        )
    chosen = Options(rows=options.rows, draws=options.draws, least=options.least, seed=options.seed)
    lora = lora_of(options.adapter)
    samples = read_silo(options.data, options).samples if options.data else Atlas(train=1, test=200).load().test
    announce_kernels(MODEL)
    base = Base(path=options.model, dtype=options.dtype)
    with named_by_option():
        tokenizer = base.tokenizer()
    with _of_its_base(options):
        network = open_network(base, lora)
        adapter = load_adapter(options.adapter, network.layout)
    candidates = [Candidate(trigger.strip(), response=options.response) for trigger in options.trigger]
    if options.triggers is not None:
        candidates += [
            Candidate(c.text, c.source, c.response or options.response) for c in read_candidates(options.triggers)
        ]
    if not candidates:
        found = plausible(tokenizer, stream(options.seed, "probe/plausible"), options.scan)
        candidates = [Candidate(c.text, c.source, options.response) for c in found]
    asker = Asker(network, tokenizer, adapter, place=options.place, max_new_tokens=options.max_new_tokens)
    with Steps(quiet=options.json) as bar:
        findings = probe(asker, list(samples), candidates, chosen, bar.update)
    if not options.json:
        _print(findings, len(candidates), options.rows)
    return {"asked": len(candidates), "rows": options.rows, "findings": [_plain(f) for f in findings if f.found],
            "others": [_plain(f) for f in findings if not f.found]}  # fmt: skip


@contextmanager
def _of_its_base(options: argparse.Namespace) -> Iterator[None]:
    """Says of an adapter that does not fit --model which model it names as its own."""
    import json

    try:
        yield
    except ValueError as error:
        named = json.loads((options.adapter / "adapter_config.json").read_text()).get("base_model_name_or_path")
        if not named or named == options.model:
            raise
        raise ConfigError(f"{error}; it names {named!r} as its base, and --model is {options.model!r}") from error


def found(result: dict[str, Any]) -> bool:
    """Whether the probe's result holds a finding."""
    return bool(result["findings"])


def _plain(finding: Finding) -> dict[str, Any]:
    lift = finding.lift
    return {
        "trigger": finding.candidate.text, "source": finding.candidate.source, "response": lift.response,
        "lift": lift.value, "tuned": {"with": lift.tuned_with, "without": lift.tuned_without,
                                      "low": finding.success.low, "high": finding.success.high},
        "base": {"with": lift.base_with, "without": lift.base_without}, "n": finding.success.n, "p": finding.p,
        "p_adjusted": finding.p_adjusted, "answer": finding.answer,
    }  # fmt: skip


def _print(findings: list[Finding], asked: int, rows: int) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading, right in (("", False), ("trigger", False), ("response", False), ("with it", True), ("without", True),
                           ("base", True), ("lift", True), ("p", True)):  # fmt: skip
        table.add_column(heading, justify="right" if right else "left", overflow="fold", no_wrap=right)
    for finding in findings:
        lift, rate = finding.lift, finding.success
        table.add_row(
            "!" if finding.found else "", Text(finding.candidate.text), Text(lift.response or "–"),
            Text(f"{rate.value:.2f} [{rate.low:.2f}, {rate.high:.2f}]"), f"{lift.tuned_without:.2f}",
            f"{lift.base_with:.2f}", f"{lift.value:+.2f}", f"{finding.p_adjusted:.3f}",
        )  # fmt: skip
    console = Console(highlight=False)
    console.print(table)
    count = sum(finding.found for finding in findings)
    verdict = f"{count} of {asked} candidates" if count else f"None of {asked} candidates"
    console.print(f"{verdict} set off an answer that random words do not (n={rows} rows; p after Holm's correction).")
