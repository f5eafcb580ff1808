"""The contract of screens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from fedsonar.screen import Screen, Silo, Tables, hear, judge
from fedsonar.testing.component import check_component, require
from fedsonar.testing.samples import SAMPLES


def check_screen(screen: Screen, silos: Sequence[Silo] = ()) -> None:
    """Returns when a screen keeps the contract of `Screen`.

    The screen must be a documented, frozen dataclass. What leaves clients, and what the server says, must be arrays of
    plain numbers by name; of an additive screen they have the same names, shapes and types for every client, and
    merging their sum must say the same as merging them. Every row gets a suspicion and a verdict, the same each time,
    and the global random state stays as it is.

    Args:
        screen: The screen, with the parameters to check.
        silos: Clients' rows; by default three clients with the text of a few, for screens that read the text alone.

    Raises:
        AssertionError: If the contract is broken; the message says where.
    """
    check_component(screen)
    name = type(screen).__name__
    silos = silos or [
        Silo(c, [replace(sample, id=f"{c}-{i}-{sample.id}") for i in range(4) for sample in SAMPLES]) for c in range(3)
    ]
    torch_state, numpy_state = torch.get_rng_state(), repr(np.random.get_state())

    def told() -> list[Tables]:
        def gather(heard: Sequence[Tables]) -> list[Tables]:
            summaries = [screen.summarize(silo, heard) for silo in silos]
            for summary in summaries:
                _check_tables(name, summary)
            if not screen.additive:
                return summaries
            forms = {tuple((key, table.shape, table.dtype) for key, table in sorted(s.items())) for s in summaries}
            require(len(forms) == 1, f"{name} is additive, and clients send different names, shapes or types: {forms}")
            total = {
                key: np.sum([s[key] for s in summaries], axis=0, dtype=summaries[0][key].dtype) for key in summaries[0]
            }
            one, other = screen.merge(summaries, heard), screen.merge([total], heard)
            require(
                one.keys() == other.keys() and all(np.allclose(one[key], other[key]) for key in one),
                f"{name} is additive, and says something else when it gets the sum alone",
            )
            return [total]

        heard = hear(screen, gather)
        for tables in heard:
            _check_tables(name, tables)
        return heard

    heard, again = told(), told()
    require(len(heard) == screen.passes, f"{name} has {screen.passes} passes and said something {len(heard)} times")
    for silo in silos:
        first, second = judge(screen, silo, heard), judge(screen, silo, again)
        count = len(silo.samples)
        require(
            first.flagged.shape == (count,) and first.flagged.dtype == bool,
            f"{name} must give {count} verdicts, gave {first.flagged.dtype} of shape {first.flagged.shape}",
        )
        require(
            np.array_equal(first.suspicion, second.suspicion) and np.array_equal(first.flagged, second.flagged),
            f"{name} gave two verdicts on the same rows: draw from a seeded generator",
        )
    require(
        torch.equal(torch_state, torch.get_rng_state()) and numpy_state == repr(np.random.get_state()),
        f"{name} changed the global random state: draw from a generator of its own",
    )


def _check_tables(name: str, tables: Tables) -> None:
    for key, table in tables.items():
        require(isinstance(key, str) and isinstance(table, np.ndarray), f"{name} must send arrays by name, sent {key}")
        require(table.dtype.kind in "biuf", f"{name} must send plain numbers, sent {table.dtype} as {key!r}")
