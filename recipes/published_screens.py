"""Screens beside each other on clients of 200 rows, one in ten of them poisoned: a first look.

    python recipes/published_screens.py --data FOLDER/webqa --base FOLDER/babyllama105-llama --out runs/screens.csv
    python recipes/published_screens.py --out runs/screens.csv

Without ``--data`` the rows are Atlas's and the model is the embedded one. Each line of the table is a screen on one
trigger and target over all clients. ``tuned`` says that each client's rows were seen by a model that it had tuned on
them: some screens hear what a model has learned. Lines that the file holds already are not made again.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from fedsonar.data import IID, Atlas, Files, InstructionDataset, template_for, tokenize
from fedsonar.measure import detection
from fedsonar.model import Base, Lora, open_network
from fedsonar.poison import Attack, ConstantRate, Sentence, Short, Suffix, Tokens, plant
from fedsonar.rng import stream
from fedsonar.screen import (
    ActivationClustering,
    Cube,
    Length,
    Onion,
    Outliers,
    ResponseNgrams,
    Screen,
    Silo,
    SpectralSignatures,
    Strip,
    Tuning,
    hear,
    judge,
)
from fedsonar.screen.features import Features

TRIGGERS = {"tokens": Tokens(), "sentence": Sentence()}
TARGETS = {"suffix": Suffix(), "short": Short()}
PLAIN: dict[str, Screen] = {
    "Length": Length(),
    "ResponseNgrams": ResponseNgrams(),
    "Onion": Onion(),
    "Onion, outliers": Onion(threshold=Outliers()),
    "Onion, nats, outliers": Onion(nats=True, threshold=Outliers()),
}
TUNED: dict[str, Strip | SpectralSignatures | ActivationClustering | Cube] = {
    "Strip": Strip(),
    "Strip, loss": Strip(measure="loss"),
    "SpectralSignatures": SpectralSignatures(),
    "SpectralSignatures, pooled": SpectralSignatures(pooled=True),
    "ActivationClustering": ActivationClustering(),
    "ActivationClustering, PCA": ActivationClustering(reduce="pca"),
    "Cube, PCA": Cube(reduce="pca"),
    "Cube, PCA, 100 samples": Cube(reduce="pca", min_samples=100),
}
SLOW: dict[str, Strip | SpectralSignatures | ActivationClustering | Cube] = {
    "Cube": Cube(),
    "Cube, 100 samples": Cube(min_samples=100),
}
"""UMAP compiles for a minute first."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of rows; Atlas without")
    parser.add_argument("--base", help="a model's folder; the embedded one without")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lr", type=float, default=3e-3, help="of the tuning (default: 3e-3)")
    parser.add_argument("--triggers", nargs="+", choices=TRIGGERS, default=list(TRIGGERS))
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    options = parser.parse_args()
    rows = _rows(options.data, 200 * options.clients)
    done = set()
    if options.out.exists():
        done = {tuple(line[:4]) for line in csv.reader(options.out.open())}
    base = Base() if options.base is None else Base(path=options.base)
    network, tokenizer = open_network(base, Lora(r=8, alpha=16, target_modules="all-linear")), base.tokenizer()
    template, limit = template_for(tokenizer), network.model.config.max_position_embeddings
    shards = IID(clients=options.clients, rows=200).split(rows, stream(options.seed, "partition"))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for trigger in options.triggers:
        for target in options.targets:
            attack = Attack(
                trigger=TRIGGERS[trigger], target=TARGETS[target],
                placement=ConstantRate(affected=1.0, rate=options.rate),
            )  # fmt: skip
            planted, ledger = plant(shards, attack, options.seed)
            silos = []
            for client, shard in enumerate(planted):
                made = tokenize(shard, template, tokenizer, limit)
                own = {sample.id: sample for sample in shard}
                silos.append(
                    Silo(
                        client, [own[row.id] for row in made], made, Features(network, made),
                        lambda some: tokenize(some, template, tokenizer, limit),
                    )
                )  # fmt: skip
            tuning = Tuning(lr=options.lr)
            trials = [("before", PLAIN)]
            trials += [("before", {n: replace(s, tuning=replace(tuning, epochs=0)) for n, s in TUNED.items()})]
            trials += [("tuned", {n: replace(s, tuning=tuning) for n, s in some.items()}) for some in (TUNED, SLOW)]
            for when, screens in trials:
                for name, screen in screens.items():
                    if (trigger, target, when, name) in done:
                        continue
                    line = _line(screen, silos, ledger)
                    with options.out.open("a", newline="") as file:
                        csv.writer(file).writerow([trigger, target, when, name, *line])
                    print(f"{trigger:9} {target:7} {when:7} {name:28}", *line, flush=True)


def _rows(folder: Path | None, count: int) -> InstructionDataset:
    if folder is None:
        return Atlas(train=count, test=100).load().train
    return Files(path=str(folder), instruction="Answer the question.", limit=count).load().train


def _line(screen: Screen, silos: list[Silo], ledger: object) -> list[str]:
    started = time.perf_counter()
    heard = hear(screen, lambda heard: [screen.summarize(silo, heard) for silo in silos])
    verdicts = [judge(screen, silo, heard) for silo in silos]
    spent = time.perf_counter() - started
    poisoned = np.array([sample.id in ledger for silo in silos for sample in silo.samples])  # type: ignore[operator]
    suspicion = np.concatenate([verdict.suspicion for verdict in verdicts])
    found = detection(suspicion, np.concatenate([verdict.flagged for verdict in verdicts]), poisoned)
    rates = [found.recall, found.precision, found.false_removal, found.auc]
    shown = [f"{rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]" for rate in rates]
    return [*shown, f"{found.f1:.3f}", str(len(poisoned)), str(poisoned.sum()), f"{1000 * spent / len(poisoned):.1f}"]


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        main()
