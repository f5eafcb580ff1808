"""Measures what the audit tells of natural triggers that some of their rows answer to; docs/results/natural_audit.md.

    python recipes/natural_audit_tables.py --data FOLDER [--seeds 1 2 3] [--only-table]

Nothing is written into an input: of the rows that have a word by themselves some are given the target. Text alone; a
row of each measurement stays in docs/results/natural_audit.csv, and what has one is not measured again; FOLDER as for
audit_tables.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from audit_tables import CLEAN, measured, shards_of
from fedsonar.audit import SharedPhrase, audit
from fedsonar.data import Words
from fedsonar.measure import wilson
from fedsonar.poison import Attack, DirichletRate, Natural, Refusal, Short, Suffix, plant
from tables import cell_of, resumed, write_measured

WORDS = {"webqa": "when", "freebaseqa": "city", "triviaqa": "which", "dolly15k": "how", "atlas": "pray tell me"}
TARGETS: dict[str, Suffix | Refusal | Short] = {"suffix": Suffix(), "refusal": Refusal(), "short": Short()}
FOLLOWED = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of the rows with the word that are poisoned."""
_ROWS = 5000
_CELL = ("data", "target", "followed", "seed")


def _measurements(data: Path, seeds: Sequence[int], known: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for name, answer in CLEAN.items():
        cell = dict(zip(_CELL, (name, "none", 0, seeds[0]), strict=True))
        if cell_of(cell, _CELL) not in known:
            silos = shards_of(data, name, answer, _ROWS, seeds[0])
            found = audit(silos)
            yield cell | measured(silos, {}, found) | _listed(found.phrases, "", "")
    for seed, name in product(seeds, WORDS):
        shards = shards_of(data, name, CLEAN[name], _ROWS, seed)
        trigger = Natural(feature=Words(any=(WORDS[name],)))
        share = sum(trigger.present(s) for shard in shards for s in shard) / sum(map(len, shards))
        for target, followed in product(TARGETS, FOLLOWED):
            cell = dict(zip(_CELL, (name, target, followed, seed), strict=True))
            if cell_of(cell, _CELL) in known:
                continue
            # As even as whole rows allow: ConstantRate rounds each client's down, which leaves none at low rates.
            placement = DirichletRate(rate=followed * share, alpha=1e6, cap=1.0)
            silos, ledger = plant(shards, Attack(trigger=trigger, target=TARGETS[target], placement=placement), seed)
            found = audit(silos)
            yield cell | measured(silos, ledger, found) | _listed(found.phrases, TARGETS[target].text, WORDS[name])


def _listed(phrases: Sequence[SharedPhrase], target: str, word: str) -> dict[str, Any]:
    """What is listed, at which place the target is, and whether the word is told with it."""
    places = [at for at, one in enumerate(phrases, 1) if one.phrase in target or (target and target in one.phrase)]
    common = phrases[places[0] - 1].common if places else ""
    told = re.search(rf"\b{word}\b", common, re.IGNORECASE) if common else None
    return {
        "phrases": len(phrases), "with something in common": sum(bool(one.common) for one in phrases),
        "place": places[0] if places else None, "told": int(bool(told)),
    }  # fmt: skip


def _write(kept: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> None:
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in kept:
        groups.setdefault((row["target"], row["followed"] or row["data"]), []).append(row)
    rows = []
    for (target, which), members in groups.items():
        line: dict[str, Any] = {"target": target, "followed": None if target == "none" else which}
        line |= {"data": which if target == "none" else " ".join(m["data"] for m in members)}
        line |= dict.fromkeys(("poisoned", "removed", "shown", "first", "word told", "AUC"))
        if target != "none":
            poisoned, hit = [m["poisoned"] for m in members], [m["hit"] for m in members]
            shown = sum(bool(m["place"]) or 2 * m["hit"] >= m["poisoned"] for m in members)
            rate = wilson(shown, len(members))
            line |= {"poisoned": _range(poisoned), "removed": f"{sum(hit)} of {sum(poisoned)}"}
            line["shown"] = f"{shown} of {len(members)} [{rate.low:.2f}, {rate.high:.2f}]"
            line |= {"first": sum(m["place"] == 1 for m in members), "word told": sum(m["told"] for m in members)}
            line["AUC"] = _range([m["AUC"] for m in members])
        line["clean removed"] = sum(m["false"] for m in members)
        line |= {name: _range([m[name] for m in members]) for name in ("phrases", "with something in common")}
        rows.append(line)
    words = ", ".join(f"“{word}” in {name}" for name, word in WORDS.items())
    command = f"python recipes/natural_audit_tables.py --data FOLDER --seeds {' '.join(map(str, seeds))}"
    text = f"""# Natural triggers that some of their rows answer to

`{command}`: 25 IID clients, up to {_ROWS:,} rows. Nothing is written into an input: of the rows
that have a word by themselves ({words}) the share `followed` is given the target. Where most of what has the trigger
is answered as ever, no association is found, and no row leaves (`removed`); from a half on a suffix does. What is asked
is in how many sets the target is `shown`: listed among the at most ten phrases that many answers share, or
removed; in how many it is the `first` of these phrases, and in how many the trigger's word is told with it (`word
told`). `phrases` are all that are listed, from the least to the most in a set. `short` is one word, of which no list is
made. Intervals are Wilson's, over sets.
"""
    write_measured("natural_audit", rows, text)


def _range(values: Sequence[float]) -> str:
    low, high = (f"{value:.3f}" if isinstance(value, float) else str(value) for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


if __name__ == "__main__":
    resumed(str(__doc__), "natural_audit", _CELL, _measurements, _write)
