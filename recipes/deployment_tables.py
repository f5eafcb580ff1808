"""What Flower costs beside training: rounds of deployments beside its template's, a simulation's start, memory."""

from __future__ import annotations

import signal
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import tomli_w

from fedsonar import Experiment, run
from fedsonar.bench import flower
from fedsonar.bench.options import Options
from fedsonar.data import IID, Atlas
from fedsonar.engine import Training
from fedsonar.experiment import to_toml
from fedsonar.flower.loopback import Loopback
from fedsonar.flower.server import Settings
from fedsonar.flower.silos import Silos, pyproject, write_silos
from fedsonar.measure import Evaluation
from tables import said, write_table

_ROUNDS, _CLIENTS, _REPEATS = 6, 2, 2
_TEMPLATE = '''
"""Flower's template for language models: each message loads the model, wraps it, trains, and sends the adapter back."""
import json
from pathlib import Path
from flwr.app import ArrayRecord, ConfigRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from safetensors.torch import load_file
from fedsonar.bench.flower_peer import client_app

app = ServerApp()

@app.main()
def serve(grid, context):
    folder = Path(context.run_config["folder"])
    options = json.loads((folder / "federation.json").read_text())
    strategy = FedAvg(fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=options["clients"],
                      min_available_nodes=options["clients"])
    strategy.start(
        grid=grid, num_rounds=options["rounds"], train_config=ConfigRecord({"folder": str(folder)}),
        initial_arrays=ArrayRecord(load_file(folder / "start" / "adapter_model.safetensors")),
        evaluate_fn=lambda round, arrays: print(f"round {round}:", flush=True),
    )
'''


def deployment_results(seeds: Sequence[int]) -> None:
    """Seconds of a round with two clients of eight rows each, so that there is next to no training in it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that a deployment is stopped then too
    experiment = Experiment(
        seed=seeds[0], rounds=_ROUNDS, data=Atlas(train=8 * _CLIENTS, test=40), partition=IID(clients=_CLIENTS),
        training=Training(batch_size=4), evaluation=Evaluation(rows=1, every=_ROUNDS),
    )  # fmt: skip
    seconds: dict[str, list[float]] = defaultdict(list)
    memory: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="fedsonar-deployment-") as name:
        folder = Path(name)
        template = _template(folder / "template", seeds[0])
        for turn in range(_REPEATS):
            silos = write_silos(experiment, folder / "silos")
            for side in ("warm worker", "model loaded every round", "Flower's template"):
                out = folder / f"{side}-{turn}"
                app = template if side == "Flower's template" else _app(folder, silos, out, side)
                told = (lambda client: {"partition-id": client}) if app == template else None
                with Loopback(replace(silos, app=app), told=told) as loopback:
                    seconds[side] += _round_seconds(loopback)
                    memory[side].append(_memory(loopback))
        trained = _training_seconds(experiment)
        rows = [
            {"what": f"a round of a deployment: {side}", "seconds": statistics.median(found), "least": min(found),
             "greatest": max(found), "n": len(found), "MB": statistics.median(memory[side])}
            for side, found in seconds.items()
        ]  # fmt: skip
        rows.append(_row("the training in it, in process", trained, None))
        rows += _simulations(folder, experiment)
    command, _ = said("deployment", seeds[:1])
    text = f"""# What Flower costs beside training

`{command}`: {_CLIENTS} clients of 8 rows, the embedded model, {_ROUNDS} rounds, {_REPEATS} times in turn; the
first round, in which everything is loaded, is not counted. Deployments run on loopback with TLS and node keys and look
for tasks every .2 s; Flower's template trains the same number of rows, with PEFT. MB: all processes of SuperLink,
ServerApp, SuperNodes and workers together after the last round, shared pages once; for simulations the most that was
seen.
"""
    write_table("deployment", rows, text)


def _row(what: str, found: Sequence[float], megabytes: float | None) -> dict[str, Any]:
    return {"what": what, "seconds": statistics.median(found), "least": min(found), "greatest": max(found),
            "n": len(found), "MB": megabytes}  # fmt: skip


def _app(folder: Path, silos: Silos, out: Path, side: str) -> Path:
    app = pyproject("measured", Settings(experiment=str(silos.experiment), out=str(out), rehearsal=True))
    if side != "warm worker":
        app["tool"]["flwr"]["app"]["components"]["clientapp"] = "fedsonar.flower.client:app"
    return _written(folder / f"app of {out.name}", app)


def _template(folder: Path, seed: int) -> Path:
    options = Options(rows=("freebaseqa",), clients=(_CLIENTS,), rounds=_ROUNDS, seed=seed)
    folder.mkdir()
    flower.write(folder, next(options.scenarios((_CLIENTS,))), options)
    app = pyproject("template", Settings(experiment="-", out="-", clients=_CLIENTS))
    app["tool"]["flwr"]["app"]["components"] = {"serverapp": "template:app", "clientapp": "template:client_app"}
    app["tool"]["flwr"]["app"]["config"] = {"folder": str(folder)}
    path = _written(folder / "app", app)
    # Flower looks for a module's names in its text.
    (path / "template.py").write_text(_TEMPLATE + "\nclient_app = client_app\n")
    return path


def _written(folder: Path, app: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(tomli_w.dumps(app))
    return folder


def _round_seconds(loopback: Loopback) -> list[float]:
    """Seconds of every round but the first."""
    times: list[float] = []
    loopback.show = lambda _: times.append(time.monotonic())
    loopback.run()
    ends = times[-_ROUNDS:]
    return [later - sooner for sooner, later in pairwise(ends)]


def _memory(loopback: Loopback) -> float:
    """Megabytes of all processes of a deployment that are left, each shared page counted once."""
    home, total = f"FLWR_HOME={loopback.folder / 'home'}".encode(), 0.0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if home in (process / "environ").read_bytes():
                lines = (process / "smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
        except (OSError, StopIteration):
            continue
    return total


def _training_seconds(experiment: Experiment) -> list[float]:
    ends: list[float] = []

    def observe(progress: Any) -> None:
        if progress.stage in ("train", "round"):
            ends.append(time.monotonic())

    run(experiment, observe=observe)
    rounds, trained = ends[1::2], ends[0::2]
    return [train - before for before, train in zip(rounds, trained[1:], strict=False)]


def _simulations(folder: Path, experiment: Experiment) -> list[dict[str, Any]]:
    rows = []
    for engine in ("flower", "fused"):
        for rounds in (1, _ROUNDS):
            found = []
            for turn in range(_REPEATS):
                path = folder / f"{engine}-{rounds}.toml"
                path.write_text(to_toml(replace(experiment, rounds=rounds)))
                command = [sys.executable, "-m", "fedsonar", "run", str(path), "--engine", engine]
                found.append(flower.run([*command, "--out", str(folder / f"run-{engine}-{rounds}-{turn}")]))
            peaks = [peak for _, peak in found if peak is not None]
            what = f"a whole run of {rounds} round{'s' * (rounds > 1)}: --engine {engine}"
            rows.append(_row(what, [seconds for seconds, _ in found], statistics.median(peaks) if peaks else None))
    return rows
