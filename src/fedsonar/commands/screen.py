"""``fedsonar screen``: its arguments, what it writes, and what it prints."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedsonar.commands.silo_rows import (
    READ,
    SiloRows,
    add_reading,
    check_paths,
    json_line,
    places,
    read_silo,
    written_rows,
)

if TYPE_CHECKING:
    from fedsonar.data.formats import Row
    from fedsonar.measure import Detection
    from fedsonar.preparation import Trainer
    from fedsonar.screen import Screen, Silo, Verdict

DESCRIPTION = (
    "Judges every row before anybody trains on it. Each DATA is the silo of one client, a file or folder of rows in "
    "any known layout; screens that pool hear all of them. DIR gets kept.jsonl and suspects.jsonl, the rows as they "
    "came, suspects with silo, place and suspicion besides (fedsonar_silo and so on where rows have such a column), "
    "scores.jsonl with every row's suspicion, and report.html, a page that stands alone. Where a column says "
    "which rows are poisoned (1, true, yes, poisoned; 0, false, no, clean or empty), it is used for scores and the ROC "
    "curve alone." + READ
)
EXAMPLES = (
    "Examples:\n"
    "  fedsonar screen silos/*.jsonl --out screened   # by Sonar: the text alone, all silos as one pool\n"
    "  fedsonar screen silos/*.jsonl --model models/llama --out screened   # and by what a model hears\n"
    "  fedsonar screen silo.jsonl --screen GradSentry --model models/llama --out screened\n"
    "  fedsonar screen silos/*.jsonl --screen ResponseNgrams --set n=3 --set threshold.value=0.01\n"
    "  fedsonar screen known.jsonl --screen Length --label poisoned --json\n"
    "  fedsonar list   # all screens with their parameters and papers\n\n"
    "Exit status: 0 done, 1 failed, 2 wrong usage, 3 rows are suspected and --fail-on-findings was given."
)
DEFAULT = "Sonar"
_WRITTEN = ("kept.jsonl", "suspects.jsonl", "scores.jsonl", "report.html")
_POISONED = {"1", "true", "yes", "poisoned"}
_CLEAN = {"", "0", "false", "no", "clean", "none", "null", "nan"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("data", nargs="+", metavar="DATA", help="a file or folder of rows; each is one silo")
    parser.add_argument("--screen", default=DEFAULT, metavar="NAME",
                        help=f"a screen of fedsonar list, or the path of a class (default: {DEFAULT})")  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", dest="overrides",
                        help="a parameter of the screen, for example threshold.value=12; may be repeated")  # fmt: skip
    parser.add_argument("--model", metavar="M", help="folder of a causal language model, for screens that look through "
                        "one (default: the embedded model, which knows the embedded world alone)")  # fmt: skip
    parser.add_argument("--max-length", type=int, default=512, metavar="N", help="most tokens of a row (default: 512)")
    add_reading(parser)
    parser.add_argument("--label", metavar="COLUMN", help="column that says which rows are poisoned, to score by")
    parser.add_argument("--out", type=Path, default=Path("screened"), metavar="DIR",
                        help="where rows and page go (default: screened)")  # fmt: skip
    parser.add_argument("--top", type=int, default=10, metavar="N", help="print so many suspects (default: 10)")
    parser.add_argument("--fail-on-findings", action="store_true", help="exit with 3 if rows are suspected")


def found(result: Mapping[str, Any]) -> bool:
    """Whether rows are suspected."""
    return bool(result["flagged"])


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Judges the rows.

    Raises:
        ConfigError: If the arguments name no screen, or do not go together.
        ValueError: If rows cannot be read.
    """
    from fedsonar.errors import ConfigError
    from fedsonar.progress import TEXT, announce_kernels
    from fedsonar.screen import Oracle

    if options.max_length < 8:
        raise ConfigError(f"--max-length must be at least 8, got {options.max_length}")
    screen = _screen(options)
    if isinstance(screen, Oracle):
        raise ConfigError("Oracle knows poisoned rows only where it planted them; choose another screen")
    check_paths(options, _WRITTEN)
    if not screen.text_alone and options.model is None:
        warnings.warn(
            f"{type(screen).__name__} judges by the embedded model, which knows the embedded world alone; name one "
            "that knows such rows with --model",
            UserWarning,
            stacklevel=2,
        )
    announce_kernels(TEXT)
    silos = [read_silo(path, options) for path in options.data]
    truth = None if options.label is None else [_labels(silo, options.label) for silo in silos]
    judged, seconds = _judge(screen, silos, options)
    result, scored = _result(options, screen, silos, judged, truth)
    place = places(silos)
    _write(options.out, silos, judged, truth, scored, result, place)
    result |= {"out": str(options.out), "seconds": seconds}
    if not options.json:
        _print(options, result, silos, judged, place)
    return result


def _screen(options: argparse.Namespace) -> Screen:
    """The screen that is asked for."""
    from fedsonar.commands.screen_names import screen_settings
    from fedsonar.experiment import configured

    named = screen_settings(options.screen, model=options.model is not None)
    screen = configured({}, [*named, *(f"screen.{override}" for override in options.overrides)]).screen
    assert screen is not None
    return screen


def _labels(silo: SiloRows, column: str) -> np.ndarray:
    """Which rows are poisoned, by a column."""
    return np.array([_poisoned(silo.raw[sample.id], column) for sample in silo.samples])


def _poisoned(row: Row, column: str) -> bool:
    """What a row's label says; a missing value says that it is not."""
    from fedsonar.errors import ConfigError

    if column not in row.values:
        raise ConfigError(f"{row.place}: no column {column!r} to be --label; it has {', '.join(row.values)}")
    said = str(row.values[column]).strip().lower()
    with suppress(ValueError):  # of a word
        said = f"{float(said):g}"
    if said not in _POISONED | _CLEAN:
        raise ConfigError(
            f"{row.place}: --label {column} is {row.values[column]!r}; use 1, true, yes or poisoned, else 0, false, "
            "no, clean or nothing"
        )
    return said in _POISONED


def _judge(screen: Screen, silos: Sequence[SiloRows], options: argparse.Namespace) -> tuple[list[Verdict], float]:
    """Every silo's verdict on all of its rows; what does not fit into the model has a suspicion of nan, and stays."""
    import time

    from rich.console import Console
    from rich.progress import track

    from fedsonar.screen import Tables, Verdict, gathered, hear, judge

    started = time.perf_counter()
    made = [_silo(number, silo, screen, options) for number, silo in enumerate(silos)]

    def seen(some: Sequence[Any], what: str) -> Any:
        console = Console(stderr=True)
        return track(some, what, console=console, transient=True, disable=options.json or not console.is_terminal)

    def gather(heard: Sequence[Tables]) -> list[Tables]:
        rng = np.random.default_rng()
        clients = seen(made, f"pass {len(heard) + 1}")
        return gathered(screen, (screen.noised(screen.summarize(silo, heard), rng) for silo, _ in clients))

    heard = hear(screen, gather)
    verdicts = []
    for (silo, fits), rows in zip(seen(made, "judging"), silos, strict=True):
        own = judge(screen, silo, heard)
        suspicion, flagged = np.full(len(rows.samples), np.nan), np.zeros(len(rows.samples), dtype=bool)
        suspicion[fits], flagged[fits] = own.suspicion, own.flagged
        verdicts.append(Verdict(suspicion, flagged))
    return verdicts, round(time.perf_counter() - started, 3)


def _silo(number: int, silo: SiloRows, screen: Screen, options: argparse.Namespace) -> tuple[Silo, np.ndarray]:
    """A silo as the screen sees it, and which of its rows fit into the model."""
    from fedsonar.screen import Silo
    from fedsonar.screening import silo_of

    if screen.text_alone:
        return Silo(number, silo.samples), np.ones(len(silo.samples), dtype=bool)
    trainer = _trainer(options.model, options.max_length)
    rows = trainer.tokenize(silo.samples)
    if not rows:
        raise ValueError(f"{silo.name}: no row fits into {trainer.max_length} tokens; raise --max-length")
    fitting = {row.id for row in rows}
    return silo_of(number, silo.samples, rows, trainer, screen), np.array([s.id in fitting for s in silo.samples])


@lru_cache(maxsize=1)
def _trainer(model: str | None, max_length: int) -> Trainer:
    """Tokenizer and network of a model; the same one for all silos."""
    from fedsonar.commands.base_model import named_by_option
    from fedsonar.experiment import Experiment
    from fedsonar.model import Base
    from fedsonar.preparation import Trainer

    with named_by_option():
        return Trainer(Experiment(base=Base() if model is None else Base(path=model), max_length=max_length))


def _result(
    options: argparse.Namespace, screen: Screen, silos: Sequence[SiloRows], judged: Sequence[Verdict],
    truth: Sequence[np.ndarray] | None,
) -> tuple[dict[str, Any], Detection | None]:  # fmt: skip
    from fedsonar.experiment import to_config
    from fedsonar.measure import detection
    from fedsonar.writing import plain

    suspicion, flagged = (np.concatenate([getattr(v, part) for v in judged]) for part in ("suspicion", "flagged"))
    known = ~np.isnan(suspicion)
    found = None if truth is None else detection(suspicion[known], flagged[known], np.concatenate(truth)[known])
    result: dict[str, Any] = {"rows": len(flagged), "flagged": int(flagged.sum()), "unjudged": int((~known).sum())}
    result |= {"screen": to_config(screen), "model": None if screen.text_alone else options.model or "embedded"}
    result["silos"] = [
        {"name": silo.name, "rows": len(silo.samples), "flagged": int(verdict.flagged.sum())}
        for silo, verdict in zip(silos, judged, strict=True)
    ]
    result["scores"] = None if found is None else plain(asdict(found))
    return result, found


def _write(
    out: Path, silos: Sequence[SiloRows], judged: Sequence[Verdict], truth: Sequence[np.ndarray] | None,
    found: Detection | None, result: dict[str, Any], place: Callable[[int, str], str],
) -> None:  # fmt: skip
    from fedsonar.report.screen_page import screen_page
    from fedsonar.writing import write_whole

    lines = written_rows(silos, [one.suspicion.tolist() for one in judged], [one.flagged.tolist() for one in judged])
    lines["scores"] = [
        json_line({"silo": silo.name, "id": sample.id, "place": place(number, sample.id), "suspicion": suspicion,
                   "flagged": flagged})
        for number, (silo, verdict) in enumerate(zip(silos, judged, strict=True))
        for sample, suspicion, flagged in zip(
            silo.samples, verdict.suspicion.tolist(), verdict.flagged.tolist(), strict=True
        )
    ]  # fmt: skip
    for name, some in lines.items():
        write_whole(out / f"{name}.jsonl", "".join(f"{line}\n" for line in some).encode())
    page = screen_page(
        result, [silo.name for silo in silos], [silo.samples for silo in silos], judged,
        None if truth is None else np.concatenate(truth), found, place,
    )  # fmt: skip
    write_whole(out / "report.html", page.encode())


def _print(
    options: argparse.Namespace, result: Mapping[str, Any], silos: Sequence[SiloRows], judged: Sequence[Verdict],
    place: Callable[[int, str], str],
) -> None:  # fmt: skip
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from fedsonar.report.screen_page import most_suspect, score_lines

    console = Console(highlight=False)
    console.print(f"[bold]{result['flagged']:,} of {result['rows']:,} rows are suspected[/bold]", end="")
    console.print(f"; {result['unjudged']:,} do not fit into the model" if result["unjudged"] else "")
    for line in score_lines(result["scores"]):
        console.print(line)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, expand=True)
    table.add_column("row", overflow="fold", max_width=40)
    table.add_column("suspicion")
    for heading in ("input", "answer"):
        table.add_column(heading, no_wrap=True, overflow="ellipsis", ratio=1)
    for number, sample, suspicion in most_suspect([silo.samples for silo in silos], judged, options.top):
        shown = (place(number, sample.id), f"{suspicion:.3g}", sample.input, sample.answers[0])
        table.add_row(*(escape(" ".join(cell.split())) for cell in shown))
    if table.row_count:
        console.print(table)
    console.print(f"Written to {options.out}: kept.jsonl, suspects.jsonl, scores.jsonl, report.html")
