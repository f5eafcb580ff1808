"""What people see of the suite: a bar while it works, and a table for each part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from fedsonar.bench.parts import Record

_TITLES = {
    "engine": "Training: a round of all clients",
    "round": "Whole rounds: training, FedAvg, answers to clean and triggered rows",
    "flower": "Whole federations, start included",
    "scaling": "Growing numbers of clients",
    "aggregate": "Aggregation rules, on updates in memory",
    "screens": "Features of rows for screens",
    "verdicts": "Verdicts of screens, all they need of the model included",
    "audit": "Audit of rows in a file, reading included",
}


def _interval(record: Record, value: str) -> str:
    if record.get(value) is None:
        return ""
    return f"{record[value]:.2f} [{record['low']:.2f}, {record['high']:.2f}]"


def _memory(record: Record) -> str:
    most = record.get("device_mb") or record.get("peak_mb")
    return "" if most is None else f"{most:,.0f}"


_COLUMNS: dict[str, dict[str, Callable[[Record], str]]] = {
    "engine": {
        "seconds": lambda r: f"{r['seconds']:.2f}",
        "rows/s": lambda r: f"{r['rows_per_second']:,.0f}",
        "tokens/s": lambda r: f"{r['tokens_per_second']:,.0f}",
        "of peak": lambda r: f"{r['fraction_of_peak']:.0%}",
        "MB": _memory,
        "times PEFT": lambda r: _interval(r, "times_peer"),
    },
    "round": {
        "seconds": lambda r: f"{r['seconds']:.2f}",
        "MB": _memory,
        "times PEFT": lambda r: _interval(r, "times_peer"),
    },
    "flower": {
        "seconds": lambda r: f"{r['seconds']:.1f}",
        "MB": _memory,
        "times Flower": lambda r: _interval(r, "times_peer"),
        "of its memory": lambda r: f"{r['memory_of_peer']:.0%}" if "memory_of_peer" in r else "",
    },
    "scaling": {
        "ms a row": lambda r: f"{r['milliseconds_per_row']:.2f}",
        "MB": _memory,
        "times few clients'": lambda r: _interval(r, "times_cost_per_row"),
    },
    "aggregate": {
        "ms": lambda r: f"{1000 * r['seconds']:,.1f}" if "seconds" in r else "",
        "MB": _memory,
        "beside updates": lambda r: f"{r['extra_memory']:.0%}" if "extra_memory" in r else "",
        "times fastest peer": lambda r: _interval(r, "times_peer"),
        "difference": lambda r: f"{r['difference']:.0e}" if "difference" in r else "",
        "left out": lambda r: r.get("left_out", ""),
    },
    "screens": {
        "ms a row": lambda r: f"{r['milliseconds_per_row']:.2f}",
        "MB": _memory,
        "more than at start": lambda r: f"{r['grown_mb']:,.0f}",
        "times published": lambda r: _interval(r, "times_peer"),
        "forward passes": lambda r: _interval(r, "forward_passes"),
        "difference": lambda r: f"{r['difference']:.0e}" if "difference" in r else "",
    },
    "verdicts": {
        "ms a row": lambda r: f"{r['milliseconds_per_row']:.2f}",
        "forward passes": lambda r: _interval(r, "forward_passes"),
        "KB a client": lambda r: f"{r['bytes_per_client'] / 1000:,.1f}",
        "MB": _memory,
    },
    "audit": {
        "seconds": lambda r: f"{r['seconds']:.1f}",
        "of processors": lambda r: f"{r['cpu_seconds']:.1f}",
        "rows/s of one": lambda r: f"{r['rows_per_cpu_second']:,.0f}",
        "MB": _memory,
        "by stage": lambda r: ", ".join(f"{name} {seconds:.1f}" for name, seconds in r["stages"].items()),
    },
}


def _situation(record: Record) -> tuple[str, ...]:
    """The part, and what its table is about."""
    if record["part"] == "audit":
        threads = record["threads"]
        return "audit", f"{record['bytes'] / 2**20:,.0f} MB", f"{threads} thread{'s' * (threads != 1)}"
    if record["part"] == "verdicts":
        return "verdicts", f"{record['clients']:,} clients", f"{record['count']:,} rows"
    if record["part"] == "aggregate":
        return "aggregate", f"{record['clients']:,} clients", f"{record['dim']:,} coordinates"
    return record["part"], record["model"], record["lora"], record["rows"]


def tables(records: Sequence[Record]) -> Iterator[Table]:
    """A table for each part and situation; ratios are medians over pairs of turns, with the least and the greatest."""
    situations = [_situation(record) for record in records]
    for part, *situation in dict.fromkeys(situations):
        first = {"aggregate": "rule", "audit": "rows", "verdicts": "screen"}.get(part, "clients")
        named = first in ("rule", "screen")
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, title_justify="left")
        table.title = f"\n{_TITLES[part]} ({', '.join(situation)})"
        table.add_column(first, justify="left" if named else "right", no_wrap=named)
        if first != "screen":
            table.add_column("side")
        for heading in _COLUMNS[part]:
            table.add_column(heading, justify="right", overflow="fold")
        for record, mine in zip(records, situations, strict=True):
            if mine == (part, *situation):
                leading = [f"{record['count']:,}" if first == "rows" else str(record[first])]
                if first != "screen":
                    leading.append(record["side"].replace("bfloat16", "bf16").replace("float32", "fp32"))
                cells = (Text(cell(record)) for cell in _COLUMNS[part].values())
                table.add_row(*leading, *cells)
        yield table


@contextmanager
def bar() -> Iterator[Callable[[int, int, str], None]]:
    """A bar on standard error, to be told turns done, turns in all, and what took the last turn."""
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("starting", total=None)
        yield lambda done, total, what: progress.update(task, completed=done, total=total, description=what)
