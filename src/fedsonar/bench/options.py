"""What to measure, and in which situations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from fedsonar.bench.aggregation_rules import rules
from fedsonar.bench.loras import LORAS
from fedsonar.bench.rows import LIKE
from fedsonar.bench.scenario import Scenario
from fedsonar.bench.shapes import SHAPES
from fedsonar.bench.verdict_screens import SCREENS

DTYPES = ("float32", "bfloat16")
_MOST_SPREAD = 5.0
"""Beyond it one client's noise is nearly all that there is."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and in which situations: every combination of models, adapters, rows and numbers of clients.

    Args:
        models: Keys of `SHAPES`.
        clients: Numbers of clients; none for what each part takes by itself.
        loras: Keys of `LORAS`.
        dtypes: Types of the frozen weights that FedSonar is measured with.
        peer_dtype: Type of the frozen weights of the peers.
        rules: Names of aggregation rules; none for all.
        screens: Names of screens whose verdicts are measured; none for all.
        dims: Coordinates of the updates that are aggregated.
        spread: How much these clients' noise differs: the deviation of its logarithm.
        rows: Whose lengths the rows have (keys of `LIKE`), or folders of rows.
        rows_each: Training rows of each client and round.
        batch_size: Rows a step.
        test_rows: Test rows asked after a round, each clean and triggered.
        rounds: Rounds of the federation beside Flower's.
        audit_rows: Rows of the audit.
        repeats: Turns of each contender that count.
        threads: Threads of each contender.
        device: Where models live: ``cpu`` or ``cuda``.
        peers: Whether to measure the peers at all.
        seed: Seed of weights, rows and orders.

    Raises:
        ValueError: If a name is unknown or a number too small.
    """

    models: tuple[str, ...] = ("embedded",)
    clients: tuple[int, ...] = ()
    loras: tuple[str, ...] = ("qv",)
    dtypes: tuple[str, ...] = DTYPES
    peer_dtype: str = "float32"
    rules: tuple[str, ...] = ()
    screens: tuple[str, ...] = ()
    dims: tuple[int, ...] = (100_000, 1_000_000)
    spread: float = 0.5
    rows: tuple[str | Path, ...] = ("freebaseqa", "webqa")
    rows_each: int = 8
    batch_size: int = 4
    test_rows: int = 200
    rounds: int = 10
    audit_rows: int = 100_000
    repeats: int = 5
    threads: int = 1
    device: str = "cpu"
    peers: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        known: dict[str, Iterable[str]] = {
            "models": SHAPES,
            "loras": LORAS,
            "dtypes": DTYPES,
            "rules": rules(1),
            "screens": SCREENS,
        }
        for name, allowed in known.items():
            for value in getattr(self, name):
                if value not in allowed:
                    raise ValueError(f"{name}: {value!r} is unknown; choose among {', '.join(allowed)}")
        for rows in self.rows:
            if not isinstance(rows, Path) and rows not in LIKE:
                raise ValueError(
                    f"rows: {rows!r} is unknown; choose among {', '.join(LIKE)}, or give a folder as a Path"
                )
        for name in ("rows_each", "batch_size", "test_rows", "rounds", "audit_rows", "repeats", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.spread <= _MOST_SPREAD:
            raise ValueError(f"spread must be from 0 to {_MOST_SPREAD:g}, got {self.spread}")
        for name in ("clients", "dims"):
            if any(count < 1 for count in getattr(self, name)):
                raise ValueError(f"{name} must be at least 1, got {min(getattr(self, name))}")

    def scenarios(self, clients: tuple[int, ...]) -> Iterator[Scenario]:
        """Every combination, in the weights' type of the peers; `clients` stand in where the user named none."""
        for model, lora, rows, count in product(self.models, self.loras, self.rows, self.clients or clients):
            yield Scenario(
                model=model, lora=lora, rows=rows, clients=count, rows_each=self.rows_each, batch_size=self.batch_size,
                test_rows=self.test_rows, dtype=self.peer_dtype, device=self.device, seed=self.seed,
            )  # fmt: skip
