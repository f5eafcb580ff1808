"""Measures what screens give away of rows, and writes docs/results/leakage.md.

    python recipes/leakage.py --data FOLDER --base FOLDER [--seeds 1 2 3]

The question is that of membership: given what leaves a client or is told to all, how well can somebody tell a row that
is in a silo from one of the same kind that is not? Who asks has rows of the same kind as well, knows the base model,
and, of Sonar's tables, the key. FOLDER as for results.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from fedsonar.audit import summed
from fedsonar.measure import roc_auc
from fedsonar.model import Base
from fedsonar.rng import stream
from fedsonar.screen import Association, GradientShift, ProtegoFed, ResponseShift, Screen, Silo, Tables
from screen_bench import Pool
from screen_cells import CLIENTS, rows_of
from tables import write_table

DATA = ("freebaseqa", "sst2", "dolly15k")
SILO, ASKED, KNOWN = 100, 200, 1000
"""Rows of a client, rows of each kind that are asked about, and rows that who asks has."""

Score = Callable[[Silo], float]


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="the folder with the data sets")
    parser.add_argument("--base", type=Path, required=True, help="a base model for ProtegoFed's gradients")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    rows = []
    for data in DATA:
        found = [measured(data, arguments.data, Base(path=str(arguments.base)), seed) for seed in arguments.seeds]
        for what in found[0]:
            scores, inside = (np.concatenate([one[what][part] for one in found]) for part in (0, 1))
            area = roc_auc(scores, inside.astype(bool))
            interval = f"[{area.low:.3f}, {area.high:.3f}] n={area.n}"
            rows.append({"data": data, "who sees what": what, "AUC": area.value, "AUC 95 %": interval})
    write_table("leakage", rows, text(arguments.seeds))


def measured(data: str, folder: Path, base: Base, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Who sees what -> the scores of rows, and whether each is one that was seen."""
    every = list(rows_of(data, folder))
    order = stream(seed, "leakage", data).permutation(len(every))[: CLIENTS * SILO + KNOWN + ASKED]
    some = [every[place] for place in order]
    shards = [some[start : start + SILO] for start in range(0, CLIENTS * SILO, SILO)]
    rest = some[CLIENTS * SILO :]
    known, outside = rest[:KNOWN], rest[KNOWN:]
    pooled = [sample for shard in shards for sample in shard]
    inside = [pooled[place] for place in stream(seed, "leakage", "asked").choice(len(pooled), ASKED, replace=False)]
    asked = [[sample] for sample in (*shards[0], *inside, *outside)]
    silos = Pool(base).silos({"clients": shards, "known": [known], "asked": asked})
    clients, [reference], alone = silos["clients"], silos["known"], silos["asked"]
    own, inside_alone, outside_alone = alone[:SILO], alone[SILO : SILO + ASKED], alone[SILO + ASKED :]
    # Tables of given sizes, so that the first pass counts already.
    words = Association(bits=21, pair_bits=22, slot_bits=13)
    protego = ProtegoFed()
    counts = [words.summarize(silo, []) for silo in clients]
    sums = summed(counts)
    expected, times = words.summarize(reference, []), len(pooled) / len(reference.samples)
    centres = [protego.summarize(silo, []) for silo in clients]
    spread = np.stack([protego.summarize(Silo(-1, [s], [r], reference.features.some([i])), [])["centre"]
                       for i, (s, r) in enumerate(zip(reference.samples, reference.rows, strict=True))])  # fmt: skip
    games: dict[str, tuple[Score, Sequence[Silo]]] = {
        "ProtegoFed: the server, a client's centre": (_direction(protego, centres[0], spread), own),
        "ProtegoFed: a client, the federation's centre": (
            _direction(protego, protego.merge(centres, []), spread), inside_alone
        ),
        "Sonar without a secure sum: the server, a client's counts": (
            _surprise(words, [], _WORDS, counts[0], _scaled(expected, SILO / len(reference.samples))), own
        ),
        "Sonar: the sums, as they were told before": (
            _surprise(words, [], _WORDS, sums, _scaled(expected, times)), inside_alone
        ),
        "Sonar: a client, the sums as they are told": (
            _surprise(words, [], _WORDS, words.merge([sums], []), words.merge([_scaled(expected, times)], [])),
            inside_alone,
        ),
        "Sonar: the server, the sums without the key": (
            _surprise(words, [], _WORDS, _strange(sums, seed), _scaled(expected, times)), inside_alone
        ),
        "ResponseShift: a client, what words come with each feature": (
            _of_features(ResponseShift(bits=21), 1, clients, reference, times), inside_alone
        ),
        "GradientShift: a client, which ways rows pull with each feature": (
            _of_features(GradientShift(bits=21), 2, clients, reference, times), inside_alone
        ),
    }  # fmt: skip
    return {
        what: (
            np.array([score(silo) for silo in (*members, *outside_alone) if silo.samples]),
            np.repeat([True, False], [sum(bool(s.samples) for s in some) for some in (members, outside_alone)]),
        )
        for what, (score, members) in games.items()
    }  # fmt: skip


def _direction(protego: ProtegoFed, seen: Tables, known: Float[np.ndarray, "rows width"]) -> Score:
    """How far a mean leans towards a row's own gradient, in standard deviations of known rows' coordinates.

    References:
        Dwork et al., 2015, "Robust traceability from trace amounts", FOCS.
    """
    mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-12
    leaning = (seen["centre"] - mean) / deviation
    return lambda row: float(leaning @ ((protego.summarize(row, [])["centre"] - mean) / deviation))


_WORDS = ("inputs", "responses", "vocabulary")


def _surprise(screen: Screen, heard: Sequence[Tables], names: Sequence[str], seen: Tables, known: Tables) -> Score:
    """How much more often a row's features are counted than in known rows: in nats, summed over its features.

    Args:
        screen: Whose counts they are.
        heard: What was said after the passes before.
        names: Of the tables that are looked at.
        seen: The counts.
        known: What they would be if all rows were like the known ones.
    """

    def score(row: Silo) -> float:
        own = screen.summarize(row, heard)
        places = {name: np.nonzero(own[name]) for name in names}
        return sum(float(np.sum(np.log(seen[n][at] + 0.5) - np.log(known[n][at] + 0.5))) for n, at in places.items())

    return score


def _of_features(screen: Screen, passes: int, clients: Sequence[Silo], reference: Silo, times: float) -> Score:
    """`_surprise` by the pass after so many, in which shifts count what comes with each feature."""
    heard: list[Tables] = []
    for _ in range(passes):
        heard.append(screen.merge([screen.summarize(silo, heard) for silo in clients], heard))
    seen = screen.merge([screen.summarize(silo, heard) for silo in clients], heard)
    return _surprise(screen, heard, ("spoken",), seen, _scaled(screen.summarize(reference, heard), times))


def _scaled(tables: Tables, times: float) -> dict[str, np.ndarray]:
    return {name: np.round(times * table).astype(table.dtype) for name, table in tables.items()}


def _strange(tables: Tables, seed: int) -> Tables:
    """The tables as they look to who does not know where a word's counter is: in some order."""
    mixed = stream(seed, "leakage", "key")
    return {name: table[mixed.permutation(len(table))] for name, table in tables.items()}


def text(seeds: Sequence[int]) -> str:
    """What stands above the table."""
    return f"""# What screens give away

`python recipes/leakage.py --data FOLDER --base FOLDER --seeds {" ".join(map(str, seeds))}`: {CLIENTS} clients of
{SILO} rows of real data, nothing poisoned; the base here is a model of 260 thousand parameters. Can somebody tell a row
that is in a silo (or in the federation, where sums or means of all are seen) from a row of the same data that is not?
AUC .5 is a guess, 1 is certainty; over all seeds, with DeLong's intervals; n rows are in. Who asks has {KNOWN} more
rows of the same data to compare with, the base model, and Sonar's key except where it says so. The score is, for a mean
of gradients, how far it leans towards the row's own (Dwork et al., 2015), and for counts how much more often the row's
features are counted than in the rows to compare with. Shifts say in their next pass what comes with each feature that
seven rows have, in 128 buckets: of words, or of ways in which rows pull the model.

`as they were told before` is for comparison: since then counters of fewer than 3 rows (of shifts: 7) are told to
nobody, which changes no verdict. `without the key` holds as long as no client gives the server its key. A mean of
gradients says more the more numbers it has for each row that is in it: that of a larger model will say more than here.
"""


if __name__ == "__main__":
    main()
