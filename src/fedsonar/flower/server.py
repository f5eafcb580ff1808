"""The server's side of a deployment: our loop over Flower's grid, going on where it was stopped."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedsonar.aggregate import FedAvg
from fedsonar.data import IID, Atlas
from fedsonar.experiment import Bsnr, Experiment, load
from fedsonar.federation import run
from fedsonar.flower.deployed_screening import DeployedScreening
from fedsonar.flower.grid_engine import GridEngine
from fedsonar.flower.said import say
from fedsonar.measure import Evaluation
from fedsonar.preparation import Coordination, Federation
from fedsonar.screening import Screening

app = ServerApp()

_LOCK = 120.0
"""Seconds to wait for another server of the same run to end, which it does soon after its SuperLink."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The app's configuration: ``[tool.flwr.app.config]`` in its pyproject.toml, or ``flwr run --run-config``.

    Args:
        experiment: The experiment's file, on the server's machine.
        out: Folder of the run there; one that holds the same experiment is gone on with.
        clients: How many clients there are; 0 in a rehearsal.
        rehearsal: The clients' rows are those that `experiment` makes, written out by ``fedsonar silos``: everything is
            measured as in a simulation, against what was planted. Nothing of that is known of real clients.
        patience: Seconds that clients may take for a round.
        gather: Seconds that their nodes may take to appear before the first.
        threads: Threads of the server.
    """

    experiment: str
    out: str
    clients: int = 0
    rehearsal: bool = False
    patience: float = 3600.0
    gather: float = 600.0
    threads: int = 1

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Settings:
        """The settings in an app's configuration.

        Raises:
            ValueError: If something is unknown, missing or out of range; names it.
        """
        known = {field.name: field for field in fields(cls)}
        if unknown := sorted(set(config) - set(known)):
            raise ValueError(f"the app's config has {unknown[0]!r}, which is none of {', '.join(known)}")
        for name in ("experiment", "out"):
            if not config.get(name):
                raise ValueError(f"the app's config needs {name}; set it in pyproject.toml or with --run-config")
        settings = cls(**config)
        if settings.rehearsal == bool(settings.clients):
            raise ValueError("the app's config needs either clients, how many there are, or rehearsal = true")
        if settings.patience <= 0 or settings.gather < 0 or settings.threads < 1:
            raise ValueError("the app's config needs patience above 0, gather of at least 0, threads of at least 1")
        return settings


@app.main()  # type: ignore[untyped-decorator]
def serve(grid: Grid, context: Context) -> None:
    """All rounds that are left."""
    settings = Settings.of(context.run_config)
    torch.set_num_threads(settings.threads)
    path, out = Path(settings.experiment).expanduser(), Path(settings.out).expanduser()
    sys.path.insert(0, str(path.parent.resolve()))  # for a plugin beside the experiment
    experiment = load(path)
    federation = prepared(experiment, settings)
    judged_here = settings.rehearsal and experiment.screen is not None
    told = for_clients(experiment)
    engine = GridEngine(
        grid, replace(told, screen=None) if judged_here else told, federation.engine, patience=settings.patience,
        gather=settings.gather, screened=judged_here,
    )  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out.with_name(f".{out.name}.lock"), timeout=_LOCK):
            resume = (out / "experiment.toml").is_file()
            run(
                experiment, engine, out=out, resume=resume, observe=say, federation=federation,
                screening=Screening if settings.rehearsal else lambda f, state: DeployedScreening(f, state, engine),
            )  # fmt: skip
    except Timeout:
        raise ValueError(f"another server is at work on {out}; stop it first") from None


def prepared(experiment: Experiment, settings: Settings) -> Federation:
    """The federation as the server sees it.

    Raises:
        ValueError: If the experiment wants what clients of a deployment cannot give.
    """
    if settings.rehearsal:
        if experiment.bsnr.twins:
            raise ValueError("a deployment's clients have no twins; set bsnr.twins to false")
        return Federation(experiment)
    return Coordination(experiment, settings.clients)


def for_clients(experiment: Experiment) -> Experiment:
    """What clients are told: how to screen and train, and nothing of what the server has, measures or expects."""
    return replace(
        experiment, name="", rounds=1, clients_per_round=0, min_updates=None, data=Atlas(), partition=IID(),
        attack=None, screen_every=None, repair=None, aggregator=FedAvg(), evaluation=Evaluation(),
        bsnr=Bsnr(),
    )  # fmt: skip
