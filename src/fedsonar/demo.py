"""The whole story on the embedded world: what thin poison does, and what robust aggregation does about it."""

from __future__ import annotations

from dataclasses import replace

from fedsonar.aggregate import Aggregator, Krum, TrimmedMean
from fedsonar.data import IID, Atlas
from fedsonar.engine import Training
from fedsonar.experiment import Experiment
from fedsonar.measure import Evaluation
from fedsonar.model import Lora
from fedsonar.poison import Attack, ConstantRate
from fedsonar.screen import Sonar

# Not the field's defaults: the embedded model has 3 million weights, so its adapter is wider than r=4 on two
# projections, its learning rate is higher than that of a model of billions, and clients take more and smaller steps
# (2 rows, not 4), which plants the backdoor in fewer rounds than a demo has patience for.
CLEAN = Experiment(
    name="clean",
    seed=1,
    rounds=10,
    lora=Lora(r=8, alpha=16, target_modules="all-linear"),
    data=Atlas(train=600, test=300),
    partition=IID(clients=10),
    training=Training(lr=3e-3, batch_size=2, schedule="constant"),
    evaluation=Evaluation(rows=100, every=5),
)
POISONED = replace(CLEAN, name="poisoned, FedAvg", attack=Attack(placement=ConstantRate(affected=1.0, rate=0.1)))


def story() -> dict[str, Experiment]:
    """The demo's runs, by folder name: clean, poisoned under FedAvg, the same under two robust rules, and screened."""
    robust: dict[str, Aggregator] = {"krum": Krum(), "trimmed-mean": TrimmedMean()}
    runs = {"clean": CLEAN, "poisoned": POISONED}
    for folder, rule in robust.items():
        runs[folder] = replace(POISONED, name=f"poisoned, {type(rule).__name__}", aggregator=rule)
    return runs | {"screened": replace(POISONED, name="poisoned, screened", screen=Sonar())}
