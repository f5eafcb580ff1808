"""An experiment written out for a rehearsal: a file of rows for every client, and the Flower app for the server."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import tomli_w

import fedsonar
from fedsonar.data import Files, InstructionDataset
from fedsonar.experiment import Experiment, to_toml
from fedsonar.flower.server import Settings, prepared
from fedsonar.writing import write_whole


@dataclass(frozen=True)
class Silos:
    """What a rehearsal is made of.

    Args:
        folder: Holds the rest.
        clients: Each client's rows, in the order of the clients' numbers.
        experiment: The server's experiment.
        app: Folder of the Flower app.
        out: Where the server leaves the run.
    """

    folder: Path
    clients: list[Path]
    experiment: Path
    app: Path
    out: Path


def write_silos(experiment: Experiment, folder: Path) -> Silos:
    """Writes ``silos/client-N.jsonl``, ``server/experiment.toml`` and ``app/pyproject.toml``.

    Rows have the ids and the order that they have in the experiment, so that clients train on the same batches, and are
    poisoned as it says. Which of them are is written nowhere: the server of a rehearsal works it out again.

    Args:
        experiment: What to write out.
        folder: New, empty, or with the silos of the same experiment.

    Raises:
        ValueError: If `folder` holds something else, or a row would not be read as it is written.
    """
    folder = folder.resolve()
    server = folder / "server" / "experiment.toml"
    if (
        folder.exists()
        and any(folder.iterdir())
        and not (server.is_file() and server.read_text() == to_toml(experiment))
    ):
        raise ValueError(f"{str(folder)!r} holds something else; choose another --out")
    settings = Settings(experiment=str(server), out=str(folder / "server" / "run"), rehearsal=True)
    shards = prepared(experiment, settings).shards
    write_whole(server, to_toml(experiment).encode())
    width = len(str(len(shards) - 1))
    clients = [folder / "silos" / f"client-{client:0{width}}.jsonl" for client in range(len(shards))]
    for path, shard in zip(clients, shards, strict=True):
        _write_rows(path, shard)
    app = folder / "app"
    write_whole(app / "pyproject.toml", tomli_w.dumps(pyproject("rehearsal", settings)).encode())
    return Silos(folder, clients, server, app, Path(settings.out))


def pyproject(name: str, settings: Settings) -> dict[str, object]:
    """A Flower app of ours: no code of its own, for server and clients have FedSonar installed."""
    components = {"serverapp": "fedsonar.flower.server:app", "clientapp": "fedsonar.flower.warm:app"}
    app = {"publisher": "fedsonar", "components": components, "config": asdict(settings)}
    project = {"name": name, "version": "1.0.0", "description": "A federation of FedSonar", "license": "Apache-2.0"}
    requires = [f"fedsonar[flower]=={fedsonar.__version__}"]
    return {"project": {**project, "dependencies": requires}, "tool": {"flwr": {"app": app}}}


def _write_rows(path: Path, shard: InstructionDataset) -> None:
    rows = [
        {"id": s.id, "instruction": s.instruction, "context": s.context, "question": s.question, "answers": s.answers}
        for s in shard
    ]
    write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    for row, read in zip(shard, Files(train=str(path), schema="native").rows(), strict=True):
        wanted = (row.id, row.instruction, row.context, row.question, row.answers)
        if (read.id, read.instruction, read.context, read.question, read.answers) != wanted:
            raise ValueError(
                f"row {row.id!r} would not be read as it is: white space at its ends, or a number as its id"
            )
