"""The peer's federation: Flower's simulation with a client as in its templates for language models.

A script of its own that imports nothing of FedSonar, so that Flower's processes hold only what Flower's users load.
Each message to a client loads the model, wraps it with PEFT, takes over the global adapter, trains on its rows,
and sends the adapter back; FedAvg averages. Leaner than the templates: no Trainer, no data set, no checkpoints.

Usage: ``python flower_peer.py FOLDER``, a folder as `fedsonar.bench.flower` writes it.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import ray
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging

client_app, server_app = ClientApp(), ServerApp()


@client_app.train()  # type: ignore[untyped-decorator]
def train(message: Message, context: Context) -> Message:
    """One client's round."""
    warnings.simplefilter("ignore")
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.set_num_threads(1)
    config = message.content["config"]
    folder = Path(config["folder"])
    options = json.loads((folder / "federation.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(folder / "model").to(options["device"])
    lora = LoraConfig.from_pretrained(str(folder / "start"))
    lora.inference_mode = False
    model = get_peft_model(model, lora)
    set_peft_model_state_dict(model, message.content["arrays"].to_torch_state_dict())
    data = json.loads((folder / f"client-{context.node_config['partition-id']}.json").read_text())
    batches = [[data["rows"][i] for i in batch] for batch in data["rounds"][config["server-round"] - 1]]
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=options["lr"], weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / len(batches))
    model.train()
    total = torch.zeros((), device=model.device)
    for batch in batches:
        loss = model(**padded(batch, options["device"])).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, options["max_grad_norm"])
        optimiser.step()
        schedule.step()
        total += loss.detach()
    metrics = {"train_loss": total.item() / len(batches), "num-examples": sum(map(len, batches))}
    content = {"arrays": ArrayRecord(get_peft_model_state_dict(model)), "metrics": MetricRecord(metrics)}
    return Message(content=RecordDict(content), reply_to=message)


def padded(rows: list[tuple[list[int], list[int]]], device: str) -> dict[str, Any]:
    """A batch of (prompt, response), padded on the right; labels on the responses."""
    longest = max(len(prompt) + len(response) for prompt, response in rows)
    ids, mask, labels = [], [], []
    for prompt, response in rows:
        fill = longest - len(prompt) - len(response)
        ids.append([*prompt, *response] + [1] * fill)
        mask.append([1] * (longest - fill) + [0] * fill)
        labels.append([-100] * len(prompt) + response + [-100] * fill)
    named = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return {name: torch.tensor(lists, device=device) for name, lists in named.items()}


@server_app.main()  # type: ignore[untyped-decorator]
def serve(grid: Grid, context: Context) -> None:  # noqa: ARG001
    """All rounds."""
    folder = Path(sys.argv[1])
    options = json.loads((folder / "federation.json").read_text())
    strategy = FedAvg(fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=options["clients"],
                      min_available_nodes=options["clients"])  # fmt: skip
    result = strategy.start(
        grid=grid, num_rounds=options["rounds"], train_config=ConfigRecord({"folder": str(folder)}),
        initial_arrays=ArrayRecord(load_file(folder / "start" / "adapter_model.safetensors")),
    )  # fmt: skip
    state = {name: tensor.contiguous() for name, tensor in result.arrays.to_torch_state_dict().items()}
    save_file(state, folder / "flower.safetensors")


def main() -> None:
    """Runs the federation: as many clients at a time as it may use threads, one thread each."""
    options = json.loads((Path(sys.argv[1]) / "federation.json").read_text())
    os.environ["OMP_NUM_THREADS"] = "1"
    accelerated = options["device"] != "cpu"
    # Flower's own start of Ray would join another's cluster, and where it fails the server waits for clients for ever.
    ray.init(address="local", num_cpus=options["threads"], include_dashboard=False, log_to_driver=False)
    run_simulation(
        server_app=server_app, client_app=client_app, num_supernodes=options["clients"],
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 1 / options["threads"] if accelerated else 0.0},
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
