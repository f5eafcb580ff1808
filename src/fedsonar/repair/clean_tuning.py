"""Clean tuning: training goes on, on clean rows alone."""

from __future__ import annotations

from dataclasses import dataclass

from fedsonar.repair.repair import Repair, Repaired, Tuned, check_rows


@dataclass(frozen=True, kw_only=True)
class CleanTuning(Repair):
    """Trains the tuned adapter on clean rows, as clients train, and hopes that it forgets the backdoor.

    The baseline of every repair that trains.

    Args:
        clean_rows: Clean rows at the server.
        epochs: Passes over them.

    Raises:
        ValueError: If there are no rows or no epochs.

    References:
        Liu, Dolan-Gavitt and Garg, 2018, arXiv:1805.12185, section 3.3, where tuning alone is found not to be enough.
    """

    clean_rows: int = 100
    epochs: int = 3

    def __post_init__(self) -> None:
        check_rows(self, self.epochs, least_epochs=1)

    def apply(self, tuned: Tuned) -> Repaired:
        """The adapter after training on."""
        return Repaired(tuned.trained(tuned.adapter, self.epochs))
