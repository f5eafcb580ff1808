"""Which rows leave by what an audit found."""

from collections.abc import Iterable, Sequence

from fedsonar.audit import Audit, audit
from fedsonar.data import Sample


def leaving(silos: Sequence[Iterable[Sample]], found: Audit | None = None) -> set[str]:
    """Ids of the rows that leave their silos; by an audit of these, where none is given."""
    judged = zip(silos, (found or audit(silos)).judgements, strict=True)
    return {sample.id for silo, one in judged for sample, out in zip(silo, one.flagged, strict=True) if out}
