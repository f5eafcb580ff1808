"""A small poisoned federation, trained once, whose model every repair gets."""

from __future__ import annotations

import pytest

from fedsonar import Experiment, run
from fedsonar.data import IID, Atlas
from fedsonar.engine import Training
from fedsonar.measure import Evaluation
from fedsonar.model import Base, Lora
from fedsonar.poison import Attack, ConstantRate, Suffix
from fedsonar.preparation import Federation, Loaded
from fedsonar.repair import Tuned

POISONED = Experiment(
    name="poisoned", seed=3, rounds=3, lora=Lora(r=8, alpha=16, target_modules="all-linear"),
    data=Atlas(train=240, test=200), partition=IID(clients=3),
    training=Training(lr=3e-3, batch_size=2, schedule="constant"), evaluation=Evaluation(rows=30, every=9),
    attack=Attack(target=Suffix(), placement=ConstantRate(affected=1.0, rate=0.3)),
)  # fmt: skip


class Patient:
    """The poisoned model, and what asks it."""

    def __init__(self):
        self.loaded = Loaded()
        self.federation = Federation(POISONED, self.loaded)
        self.examiner = self.federation.examiner
        self.adapter = run(POISONED, federation=self.federation).adapter
        self.before = self.examiner.examine(self.adapter)

    def tuned(self, rows=()):
        return Tuned(self.federation.network, Base(), self.adapter, rows, POISONED.training, POISONED.seed)

    @property
    def clean(self):
        """Clean rows of the server's, which nobody trained on and which the examiner does not ask."""
        asked = {sample.id for sample in [*self.examiner.samples, *self.examiner.attacked_samples]}
        samples = [s for s in POISONED.data.load().test if s.id not in asked]
        return self.federation.trainer.tokenize(samples[:40])

    def ask(self, repaired):
        return self.examiner.examine(repaired.adapter, None, repaired.answers)


@pytest.fixture(scope="session")
def patient():
    made = Patient()
    assert made.before.attack.success.value > 0.85
    return made
