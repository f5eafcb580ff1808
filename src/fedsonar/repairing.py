"""The repair after the last round: the model as it was, treated, and examined once more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from fedsonar.measure import Examination
from fedsonar.preparation import Federation
from fedsonar.repair import Repair, Repaired, Tuned


@dataclass(frozen=True)
class Treated:
    """A repaired model and what it is worth.

    Args:
        repair: What was done.
        repaired: What came out.
        examination: On the same test rows as the model before it.
    """

    repair: Repair
    repaired: Repaired
    examination: Examination

    def summary(self) -> dict[str, Any]:
        """The part ``repair`` of ``summary.json``."""
        accuracy, attack = self.examination.accuracy, self.examination.attack
        part: dict[str, Any] = {"kind": type(self.repair).__name__, "clean_rows": self.repair.clean_rows}
        part["clean"] = {"accuracy": accuracy.value, "n": accuracy.n, "low": accuracy.low, "high": accuracy.high}
        if attack is None:
            return part | {"attack": None}
        found, elsewhere = attack.success, attack.false_activation
        part["attack"] = {"success_rate": found.value, "n": found.n, "low": found.low, "high": found.high}
        part["attack"] |= {"false_activation": elsewhere.value, "false_activation_n": elsewhere.n}
        part["attack"] |= {"false_activation_low": elsewhere.low, "false_activation_high": elsewhere.high}
        return part


def treat(
    federation: Federation, adapter: Float[Tensor, "dim"], hits_before: Bool[np.ndarray, "rows"] | None
) -> Treated:
    """The federation's final model, repaired as its experiment says, and examined.

    Args:
        federation: The experiment, prepared.
        adapter: The model after the last round.
        hits_before: Triggered rows that the model hit before any tuning.
    """
    experiment = federation.experiment
    assert experiment.repair is not None
    tuned = Tuned(
        federation.network, experiment.base, adapter, federation.clean, experiment.training, experiment.seed,
        experiment.pass_tokens, experiment.space == "freeze-a",
    )  # fmt: skip
    repaired = experiment.repair.apply(tuned)
    examination = federation.examiner.examine(repaired.adapter, hits_before, repaired.answers)
    return Treated(experiment.repair, repaired, examination)
