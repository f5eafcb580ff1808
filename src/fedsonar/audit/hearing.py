"""What silos hear of the sums of a pass, and what kernels read of it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fedsonar.audit.closed import told_answers
from fedsonar.audit.corpus import Corpus
from fedsonar.audit.kernels.pairing import Pairs, Singles
from fedsonar.audit.kernels.tables import FULL, Sparse, shortened, sparse
from fedsonar.audit.lexicon import lexicon
from fedsonar.audit.little import Little, Short
from fedsonar.audit.scope import Scope, Tables

FRAME = 0.8
"""Words that this share of all rows have are the frame that all rows are set in, and tell nothing of any."""


def told(sums: Tables, scope: Scope, heard: Sequence[Tables]) -> dict[str, Any]:
    """What silos hear of the sums of a pass: what the rest of the audit reads of them.

    Features, pairs and words of fewer rows than `Scope.least` are not told: the audit takes no notice of them, and
    whoever heard of them could look up whether somebody has a row.

    Args:
        sums: Of all silos, or of what was counted in one place.
        scope: What is counted.
        heard: What silos heard of the passes before.
    """
    names = (("inputs", "responses"), ("pairs",), ())[len(heard)]
    found = {**sums, **{name: _told(sums[name], scope.least, small=name == "pairs") for name in names}}
    if not heard:
        found |= {name: frequent(sums[name], scope.least) for name in ("common", "vocabulary")}
        found["answered"] = told_answers(sums["answered"], scope.least)
    if len(heard) == 1:
        found["labels"] = sums["labels"] * (heard[0]["vocabulary"] > 0)
        pairs = found["pairs"].counts if isinstance(found["pairs"], Short) else sums["pairs"]
        found["empty"] = np.array([np.count_nonzero(pairs == 0)])
    return found


def _told(counts: np.ndarray | Little, least: int, *, small: bool) -> Any:
    """What is heard of a table; of one that was counted in one place in little room, for small counts or for few."""
    if isinstance(counts, Little):
        return counts.short() if small else counts.sparse(least)
    return frequent(counts, least)


def frequent(counts: np.ndarray, least: int) -> np.ndarray:
    """The counts, with 0 in place of those below the least."""
    return np.asarray(counts * (counts >= least))


class Gates(NamedTuple):
    """What the first pass says of all rows.

    Args:
        least: Fewest rows of a feature.
        rows: Rows of all silos.
        label_least: Fewest rows of a label.
    """

    least: int
    rows: int
    label_least: float


def gates(scope: Scope, first: Tables) -> Gates:
    """What the first pass says of all rows."""
    rows = int(first["size"][0])
    return Gates(scope.least, rows, max(20.0, scope.label_share * rows))


def columns_of(rows: Corpus, scope: Scope) -> tuple[np.ndarray, ...]:
    """What kernels read of a silo's rows."""
    return rows.words, rows.bounds, rows.marks, rows.sources, *lexicon(scope.key)


def singles_of(scope: Scope, first: Tables) -> Singles:
    """What kernels read of the first pass."""
    inputs, responses = frequent_inputs(scope, first["inputs"]), _sparse(first["responses"], scope.least)
    content = first["common"] < FRAME * max(1, int(first["size"][0]))
    return Singles(scope.bits, inputs, responses, *gates(scope, first), scope.words, content)


def frequent_inputs(scope: Scope, inputs: np.ndarray | Sparse) -> Sparse:
    """Rows of all silos by feature of the input, of those that enough have, as the first pass told them."""
    return _sparse(inputs, scope.least)


def pairs_of(scope: Scope, second: Tables) -> Pairs:
    """What kernels read of the second pass."""
    counts = second["pairs"]
    short, large = counts if isinstance(counts, Short) else _kept(counts, FULL, _short)
    return Pairs(scope.pair_bits, short, large, scope.strength)


def _short(counts: np.ndarray) -> Short:
    return Short(shortened(counts), sparse(counts, FULL))


_known: list[tuple[weakref.ref[np.ndarray], int, Any]] = []
"""Tables, the least that counts, and what was made of them: all silos of a process hear the same few."""


def _sparse(counts: np.ndarray | Sparse, least: int) -> Sparse:
    if isinstance(counts, Sparse):
        return counts
    made: Sparse = _kept(counts, least, lambda table: sparse(table, least))
    return made


def _kept(counts: np.ndarray, least: int, make: Callable[[np.ndarray], Any]) -> Any:
    for table, what, known in _known:
        if table() is counts and what == least:
            return known
    made = make(counts)
    _known[:] = [(weakref.ref(counts), least, made), *(one for one in _known if one[0]() is not None)][:4]
    return made
