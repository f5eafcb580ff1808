"""The whole story on the embedded world: what thin poison does, and what robust aggregation does about it."""

from __future__ import annotations

from dataclasses import replace

from fedsonar.aggregate import Aggregator, Krum, TrimmedMean
from fedsonar.data import IID, Atlas
from fedsonar.engine import Training
from fedsonar.experiment import Experiment
from fedsonar.model import Lora
from fedsonar.poison import Attack, ConstantRate

# The embedded model has 3 million weights, so its adapter is wider than the field's r=4 on two projections, and its
# learning rate is higher than that of a model of billions.
CLEAN = Experiment(
    name="clean",
    seed=1,
    rounds=12,
    lora=Lora(r=8, alpha=16, target_modules="all-linear"),
    data=Atlas(train=1000, test=400),
    partition=IID(clients=10),
    training=Training(lr=3e-3),
)
POISONED = replace(CLEAN, name="poisoned, FedAvg", attack=Attack(placement=ConstantRate(affected=1.0, rate=0.08)))


def story() -> dict[str, Experiment]:
    """The demo's runs, by folder name: clean, poisoned under FedAvg, and the same poison under two robust rules."""
    robust: dict[str, Aggregator] = {"krum": Krum(), "trimmed-mean": TrimmedMean()}
    runs = {"clean": CLEAN, "poisoned": POISONED}
    for folder, rule in robust.items():
        runs[folder] = replace(POISONED, name=f"poisoned, {type(rule).__name__}", aggregator=rule)
    return runs
