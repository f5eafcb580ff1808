"""The whole suite: its parts by name, and running them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence

from fedsonar.bench import aggregation, aggregation_peers, audits, flower, parts, screens, verdicts
from fedsonar.bench.options import Options
from fedsonar.bench.parts import Contest, Record

AnyContest = Contest | flower.FlowerContest | aggregation.AggregationContest | audits.AuditContest

PARTS: dict[str, Callable[[Options], Iterable[AnyContest]]] = {
    "engine": parts.engine,
    "round": parts.round,
    "flower": flower.flower,
    "scaling": parts.scaling,
    "aggregate": aggregation.aggregate,
    "screens": screens.screens,
    "verdicts": verdicts.verdicts,
    "audit": audits.audits,
}


def measure(
    names: Sequence[str], options: Options, observe: Callable[[int, int, str], object] = lambda *_: None
) -> Iterator[Record]:
    """The records of the named parts, in their order, as they come: one for each side of each contest.

    The part ``flower`` is left out, with a warning that says how to get it, where Flower is not installed. The part
    ``aggregate`` goes on without a library that is not installed, with such a warning too.

    Args:
        names: Keys of `PARTS`.
        options: What to measure.
        observe: Told after every turn: turns done, turns in all, and what took the turn.

    Raises:
        ChildProcessError: If a contender failed or was killed.
    """
    if "flower" in names and options.peers and not flower.installed():
        warnings.warn(flower.INSTALL, stacklevel=2)
        names = [name for name in names if name != "flower"]
    if "aggregate" in names and options.peers:
        for library in aggregation_peers.missing():
            install = aggregation_peers.INSTALL[library]
            warnings.warn(f"{library} is not installed, so its rules are left out: {install}", stacklevel=2)
    contests = [contest for name in names for contest in PARTS[name](options)]
    total, done = sum(contest.turns for contest in contests), 0

    def count(what: str) -> None:
        nonlocal done
        done += 1
        observe(done, total, what)

    for contest in contests:
        yield from contest.measure(count)
