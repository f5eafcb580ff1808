"""Our side of the federation beside Flower's: a process that loads the model and runs all rounds.

Usage: ``python -m fedsonar.bench.fused_federation FOLDER DTYPE``, a folder as `fedsonar.bench.flower` writes it.
"""

from __future__ import annotations

import atexit
import gc
import json
import sys
from pathlib import Path
from typing import Literal

import torch

from fedsonar.bench.loras import LORAS
from fedsonar.data import TokenRow
from fedsonar.engine import ClientJob, FusedEngine, Training
from fedsonar.model import Base, load_adapter, open_network, save_adapter


def main(folder: Path, dtype: Literal["float32", "bfloat16"]) -> None:
    """Trains the federation with FedAvg and leaves its adapter in the folder."""
    options = json.loads((folder / "federation.json").read_text())
    torch.set_num_threads(options["threads"])
    base, lora = Base(path=str(folder / "model"), dtype=dtype, device=options["device"]), LORAS[options["lora"]]
    network = open_network(base, lora)
    layout = network.layout
    adapter = load_adapter(folder / "start", layout)
    rows = [
        [TokenRow(f"{client}-{i}", tuple(prompt), tuple(response)) for i, (prompt, response) in enumerate(data["rows"])]
        for client in range(options["clients"])
        for data in [json.loads((folder / f"client-{client}.json").read_text())]
    ]
    training = Training(lr=options["lr"], batch_size=options["batch_size"], max_grad_norm=options["max_grad_norm"])
    engine = FusedEngine(network, training, seed=options["seed"])
    for round in range(1, options["rounds"] + 1):
        updates = engine.train_round([ClientJob(client, round, rows[client], adapter) for client in range(len(rows))])
        adapter = adapter + torch.stack([update.delta for update in updates]).mean(dim=0)
    save_adapter(folder / f"fused-{dtype}", adapter, layout, lora, str(folder / "model"))


if __name__ == "__main__":
    atexit.register(gc.freeze)  # as the command line does
    main(Path(sys.argv[1]), "bfloat16" if sys.argv[2] == "bfloat16" else "float32")
