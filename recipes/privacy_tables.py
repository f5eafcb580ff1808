"""Measures what differential privacy costs the association audit, and what it hides; writes docs/results/privacy.md.

    python recipes/privacy_tables.py --data FOLDER [--seeds 1 2 3] [--only-table]

FOLDER as for audit_tables.py. A row of each measurement stays in docs/results/privacy.csv; what has one is not measured
again, so that a stopped command goes on. All rows are counted as one silo which adds all of the noise: sums of
25 clients' counts with their shares have the same distribution, and take 25 times as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from audit_tables import PLACEMENTS, QUESTIONS, TARGETS, TRIGGERS, rows_of
from fedsonar.audit import PASSES, Corpus, Privacy, Rules, Scope, corpus, judge, summarize, told
from fedsonar.audit.private import (
    PrivateRules,
    judge_private,
    noised,
    summarize_private,
    told_private,
    variances_of,
)
from fedsonar.data import IID, InstructionDataset, Sample
from fedsonar.measure import roc_auc, wilson
from fedsonar.poison import Attack, plant
from fedsonar.rng import stream
from fedsonar.screen import Tables
from tables import cell_of, resumed, write_measured

CLIENTS, DELTA, EXACT = 25, 1e-6, "none"
EPSILONS = (EXACT, 16, 8, 4, 2, 1)
DATA = {"webqa": ("webqa",), "freebaseqa": ("freebaseqa",), "pooled": tuple(QUESTIONS)}
"""Data sets of up to 5,000 rows, and one of up to 8,000 rows from each of four, for which one trigger is measured."""
ATTACKS = [(trigger, target, f"IID {rate} %")
           for trigger in ("tokens", "sentence") for target in ("suffix", "matched") for rate in (10, 1)]  # fmt: skip
_CELL = ("data", "trigger", "target", "placement", "epsilon", "seed")
FEDERATION, ASKED, KNOWN = 2500, 200, 1000
"""Of the game of membership: rows of the federation, rows of each kind that are asked about, rows to compare with."""


def _measurements(folder: Path, seeds: Sequence[int], known: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for seed in seeds:
        for data in DATA:
            rows: InstructionDataset | None = None
            for trigger, target, placement in [("none", "none", "clean"), *ATTACKS, ("none", "none", "membership")]:
                cell = {"data": data, "trigger": trigger, "target": target, "placement": placement, "seed": seed}
                if data == "pooled" and trigger == "sentence":
                    continue
                missing = [epsilon for epsilon in EPSILONS if cell_of(cell | {"epsilon": epsilon}, _CELL) not in known]
                if not missing:
                    continue
                rows = rows or rows_for(folder, data)
                if placement == "membership":
                    for epsilon in missing:
                        yield cell | {"epsilon": epsilon} | _EMPTY | told_apart(rows.samples, epsilon, seed)
                    continue
                silos, ledger = IID(clients=CLIENTS).split(rows, stream(seed, "partition")), {}
                if trigger != "none":
                    way = PLACEMENTS[placement]
                    attack = Attack(trigger=TRIGGERS[trigger], target=TARGETS[target], placement=way)
                    silos, ledger = plant(silos, attack, seed)
                every = [sample for silo in silos for sample in silo]
                read, truth = corpus(every), np.array([sample.id in ledger for sample in every])
                for epsilon in missing:
                    yield cell | {"epsilon": epsilon} | _EMPTY | found(read, truth, epsilon, seed)


_EMPTY = {"rows": None, "poisoned": None, "hit": None, "false": None, "server AUC": None, "client AUC": None}


def rows_for(folder: Path, data: str) -> InstructionDataset:
    """The rows of a data set, or of several as one."""
    limit = 8000 if len(DATA[data]) > 1 else 5000
    sets = [rows_of(folder, name, QUESTIONS[name], limit) for name in DATA[data]]
    named = (replace(sample, id=f"{one.name}-{sample.id}") for one in sets for sample in one)
    return InstructionDataset(data, tuple(named))


def scope_of(epsilon: Any) -> Scope:
    """What is counted: as much as `Association` counts, and more where all features are."""
    return (
        Scope(bits=24, pair_bits=25, slot_bits=16) if epsilon == EXACT else Scope(bits=21, pair_bits=22, slot_bits=13)
    )


def promise_of(epsilon: float) -> Privacy:
    """What is promised, where one silo adds all of the noise."""
    return Privacy(epsilon=epsilon, delta=DELTA, clients=1)


def counts(rows: Corpus, epsilon: Any, heard: Sequence[Tables]) -> dict[str, np.ndarray]:
    """What `Association.summarize` says."""
    if epsilon == EXACT:
        return summarize(rows, scope_of(epsilon), heard)
    return summarize_private(rows, scope_of(epsilon), promise_of(epsilon), heard)


def hear(rows: Corpus, epsilon: Any, seed: int) -> tuple[Tables, list[Tables]]:
    """The first sums that the server sees, and what is told after all passes, as `Association` has it."""
    seen, heard = list[Tables](), list[Tables]()
    for turn in range(PASSES):
        sums = counts(rows, epsilon, heard)
        if epsilon == EXACT:
            heard.append(told(sums, scope_of(epsilon), heard))
        else:
            sums = noised(sums, promise_of(epsilon), stream(seed, "noise", turn))
            heard.append(told_private(sums, promise_of(epsilon), heard))
        seen.append(sums)
    return seen[0], heard


def found(rows: Corpus, truth: np.ndarray, epsilon: Any, seed: int) -> dict[str, Any]:
    """What is flagged, and how much of it is poisoned."""
    _, heard = hear(rows, epsilon, seed)
    if epsilon == EXACT:
        suspicion = judge(rows, scope_of(epsilon), heard, Rules()).suspicion
    else:
        suspicion = judge_private(rows, scope_of(epsilon), promise_of(epsilon), heard, PrivateRules())
    flagged = suspicion >= 0.5
    return {"rows": len(rows), "poisoned": int(truth.sum()), "hit": int((flagged & truth).sum()),
            "false": int((flagged & ~truth).sum())}  # fmt: skip


def told_apart(rows: Sequence[Sample], epsilon: Any, seed: int) -> dict[str, Any]:
    """How well rows of a federation are told from others by its first pass, by somebody who knows the key."""
    order = stream(seed, "membership").permutation(len(rows))[: FEDERATION + ASKED + KNOWN]
    some = [rows[place] for place in order]
    inside, outside = some[:FEDERATION], some[FEDERATION : FEDERATION + ASKED]
    sums, heard = hear(corpus(inside), epsilon, seed)
    expected = counts(corpus(some[FEDERATION + ASKED :]), epsilon, [])
    asked = [*inside[:ASKED], *outside]
    scores = np.array([_scores(corpus([sample]), epsilon, (sums, heard[0]), expected) for sample in asked])
    truth = np.arange(len(asked)) < ASKED
    areas = [roc_auc(scores[:, who], truth) for who in (0, 1)]
    return {"rows": FEDERATION, "poisoned": ASKED, "server AUC": areas[0].value, "client AUC": areas[1].value}


def _scores(row: Corpus, epsilon: Any, seen: Sequence[Tables], expected: Tables) -> list[float]:
    """How much more often a row's features are counted than rows of its kind make likely, by each of two tellers.

    Of sums with noise it is the likelihood ratio of normal numbers.
    """
    own, scores = counts(row, epsilon, []), list[float]()
    spread = {} if epsilon == EXACT else variances_of(promise_of(epsilon))
    for tables in seen:
        score = 0.0
        for name in ("inputs", "responses"):
            places = np.flatnonzero(own[name])
            usual = FEDERATION / KNOWN * expected[name][places]
            if spread:
                least = usual + 1 + spread[name]
                score += float(np.sum((tables[name][places] - usual - 0.5) / least))
            else:
                score += float(np.sum(np.log(tables[name][places] + 0.5) - np.log(usual + 0.5)))
        scores.append(score)
    return scores


def _write(kept: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> None:
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in kept:
        groups.setdefault(cell_of(row, _CELL)[:5], []).append(row)
    rows = []
    for (data, trigger, target, placement, epsilon), members in groups.items():
        row: dict[str, Any] = {"data": data, "trigger": trigger, "target": target, "placement": placement}
        row |= {"epsilon": epsilon, "seeds": len(members), "rows": members[0]["rows"]}
        row |= {
            "found in": None,
            "n": None,
            "recall": None,
            "false removal": None,
            "AUC server": None,
            "AUC client": None,
        }
        if placement == "membership":
            row["n"] = sum(member["poisoned"] for member in members)
            for who in ("server", "client"):
                row[f"AUC {who}"] = float(np.mean([member[f"{who} AUC"] for member in members]))
        else:
            total, poisoned, hit, false = (sum(m[key] for m in members) for key in ("rows", "poisoned", "hit", "false"))
            removed = wilson(false, total - poisoned)
            row["n"] = poisoned
            row["false removal"] = f"{removed.value:.5f} [{removed.low:.5f}, {removed.high:.5f}]"
            if poisoned:
                recall = wilson(hit, poisoned)
                whole = sum(2 * member["hit"] >= member["poisoned"] for member in members)
                row["found in"] = f"{whole} of {len(members)}"
                row["recall"] = f"{recall.value:.3f} [{recall.low:.3f}, {recall.high:.3f}]"
        rows.append(row)
    text = f"""# What privacy costs

`python recipes/privacy_tables.py --data FOLDER --seeds {" ".join(map(str, seeds))}`: `Association` with differential
privacy of rows, delta {DELTA:g}; `none` is `Association` without, on the same rows. {CLIENTS} IID clients; `webqa` and
`freebaseqa` have up to 5,000 rows, `pooled` up to 8,000 from each of WebQA, FreebaseQA, NQ and TriviaQA. Counts are
pooled over seeds, which are also those of the noise, with Wilson intervals; n poisoned rows. A target is found in most
of its rows or in none, so that intervals over rows are too narrow for other federations: `found in` counts federations
in which half of the rows or more were found. Limits were set with seed 1 of single data sets (WebQA, FreebaseQA, NQ,
Dolly, SST-2) at epsilon 4 and 16; all else was first seen here.

`membership`: how well one of n rows that are in a federation of {FEDERATION:,} clean rows is told from as many that are
not, from the first pass, by who knows the key and has {KNOWN:,} rows more to compare with; of all sums (server), or of
what clients hear. AUC .5 is a guess.
"""
    write_measured("privacy", rows, text)


if __name__ == "__main__":
    resumed(str(__doc__), "privacy", _CELL, _measurements, _write)
