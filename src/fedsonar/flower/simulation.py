"""A federation on Flower's simulation runtime: clients in Ray's processes, on one machine or on a cluster."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedsonar.cluster import connected
from fedsonar.errors import ConfigError
from fedsonar.experiment import Experiment
from fedsonar.federation import Progress, run
from fedsonar.preparation import Federation
from fedsonar.processes import cores
from fedsonar.records import Run

INSTALL = "Flower and its simulation are not installed; get them with: pip install 'fedsonar[flower]'"


def simulate(
    experiment: Experiment,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    observe: Callable[[Progress], object] = lambda _: None,
    workers: int | None = None,
) -> Run:
    """As `fedsonar.run`, with Flower's simulation training the clients, each in a process of Ray's.

    The loop, the rule and all measurement are those of the run in process; replies are put in the clients' order, so
    the result is the same to rounding.

    Args:
        experiment: What to run.
        out: Folder of the run.
        resume: Go on from the newest complete round in `out`.
        observe: Told after every stage; from another thread.
        workers: Clients that train at a time, one core each; by default as many as there are cores. On the cluster that
            ``RAY_ADDRESS`` names, as in Ray, it has the cores that it has.

    Raises:
        ConfigError: If Flower or Ray is not installed, no cluster is where ``RAY_ADDRESS`` says, or Ray does not
            start here.
        ValueError: As `fedsonar.run`.
    """
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
    try:
        import ray  # noqa: F401
        from flwr.app import Context
        from flwr.serverapp import Grid, ServerApp
        from flwr.simulation import run_simulation

        from fedsonar.flower.client import app as client_app
        from fedsonar.flower.grid_engine import GridEngine
    except ImportError as error:
        raise ConfigError(INSTALL) from error
    federation = Federation(experiment)
    server_app, ended = ServerApp(), _Ended()

    @server_app.main()  # type: ignore[untyped-decorator]
    def serve(grid: Grid, context: Context) -> None:  # noqa: ARG001
        try:
            engine = GridEngine(grid, experiment, federation.engine, screened=experiment.screen is not None)
            ended.result = run(experiment, engine, out=out, resume=resume, observe=observe, federation=federation)
        except BaseException as error:  # Flower would lose an interrupt, and wrap the rest
            ended.error = error

    logging.getLogger("flwr").setLevel(logging.ERROR)
    named = os.environ.get("RAY_ADDRESS")
    address = None if named in ("", "local") else named  # Ray's own words for a Ray of one's own
    here = {"num_cpus": workers or cores(), "include_dashboard": False} if address is None else {}
    resources: dict[str, Any] = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", module=r"fedsonar\.")  # ours are for the user
        # Before Flower would start it: where Flower's own start fails, its server waits for clients all the same.
        # And without an address Ray would join whatever cluster somebody has started on this machine.
        with connected(address, "RAY_ADDRESS", **here):
            run_simulation(server_app, client_app, len(federation.shards), backend_config=resources)
    if ended.error is not None:
        raise ended.error
    if ended.result is None:
        raise RuntimeError("Flower's simulation ended before the federation did")
    return ended.result


class _Ended:
    """How the server's thread ended."""

    result: Run | None = None
    error: BaseException | None = None
