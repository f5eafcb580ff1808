"""The part ``screens``: features of rows as published, one row after another and backward, beside ours.

`GradientShift` has no published peer; it stands beside the forward pass alone that it needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from fedsonar.bench.contest import Measured, Prepare, Ratio
from fedsonar.bench.options import Options
from fedsonar.bench.parts import Contest, Record, Results
from fedsonar.bench.scenario import Scenario
from fedsonar.model import initial_adapter, network_for
from fedsonar.rng import torch_stream
from fedsonar.screen import Features, GradSentry, Silo
from fedsonar.screen.features.adapter import last_value

_RANK = 8
FORWARD = "one forward pass"


def screens(options: Options) -> Iterator[Contest]:
    """GradSentry's entropies, ProtegoFed's gradients and what GradientShift hears, on the same rows as their peers."""
    for scenario in options.scenarios((25,)):
        for name, (ours, peer, beside) in _FEATURES.items():
            sides: dict[str, Prepare[Any]] = {"FedSonar": partial(ours, scenario)}
            if options.peers:
                sides[peer] = partial(beside, scenario)
            where = f"{scenario.model}, rows like {scenario.rows}, {name}"
            yield Contest(where, sides, options, partial(_records, scenario, name))


def _records(scenario: Scenario, name: str, measured: Results) -> list[Record]:
    rows = len(scenario.train_rows)
    records = []
    for side, found in measured.items():
        record: Record = {"part": "screens", "model": scenario.model, "lora": name, "rows": str(scenario.rows)}
        record |= {"clients": scenario.clients, "side": side} | cost(found, rows)
        if side == "FedSonar" and "published" in measured:
            record |= _beside(found, measured["published"])
        if side == "FedSonar" and FORWARD in measured:
            record |= in_passes(found, measured[FORWARD])
        records.append(record)
    return records


def cost(found: Measured[Any], rows: int) -> Record:
    """Time and memory, of so many rows."""
    return {
        "seconds": found.seconds, "milliseconds_per_row": 1000 * found.seconds / rows, "peak_mb": found.memory.peak,
        "grown_mb": found.memory.peak - found.memory.start, "count": rows,
    }  # fmt: skip


def in_passes(found: Measured[Any], forward: Measured[Any]) -> Record:
    """How many times one forward pass's time it took."""
    passes = asdict(Ratio.of(found.walls, forward.walls))
    return {"forward_passes": passes.pop("value"), **passes}


def _beside(ours: Measured[Any], published: Measured[Any]) -> dict[str, float]:
    """How many times as fast, and how far apart the features are, over the greatest of them."""
    ratio = asdict(Ratio.of(published.walls, ours.walls))
    one, other = ours.results[-1], published.results[-1]
    return {
        "times_peer": ratio.pop("value"),
        **ratio,
        "difference": float(np.abs(one - other).max() / np.abs(other).max()),
    }


def _our_entropies(scenario: Scenario) -> Callable[[], Float[np.ndarray, "rows"]]:
    network, rows = network_for(scenario.load(), scenario.layout), scenario.train_rows
    return lambda: GradSentry().suspicion(Silo(0, (), rows, Features(network, rows)), ())


def _our_gradients(scenario: Scenario) -> Callable[[], Float[np.ndarray, "rows out rank"]]:
    network, rows = network_for(scenario.load(), scenario.layout), scenario.train_rows
    return lambda: Features(network, rows).value_gradients(rank=_RANK, seed=0)


def _our_pulls(scenario: Scenario) -> Callable[[], Float[np.ndarray, "rows width"]]:
    network, rows = network_for(scenario.load(), scenario.layout), scenario.train_rows
    return lambda: Features(network, rows).pulls


def _forward(scenario: Scenario) -> Callable[[], Float[np.ndarray, "rows"]]:
    """Each row's loss, of which output scores are made at response tokens alone."""
    network, rows = network_for(scenario.load(), scenario.layout), scenario.train_rows
    return lambda: Features(network, rows).losses


def _published_entropies(scenario: Scenario) -> Callable[[], Float[np.ndarray, "rows"]]:
    """Each row forward and backward to the output layer's weight, whose corner goes through ``torch.svd_lowrank``."""
    model: Any = scenario.load().requires_grad_(False)
    head = model.get_output_embeddings()
    # Its own: where it is tied, the gradient would be that of the input's embedding too.
    weight = head.weight = torch.nn.Parameter(head.weight.detach().clone())

    def measure() -> Float[np.ndarray, "rows"]:
        found: list[float] = []
        for row in scenario.train_rows:
            weight.grad = None
            ids = torch.tensor([row.prompt + row.response])
            labels = torch.tensor([(-100,) * len(row.prompt) + row.response])
            model(input_ids=ids, labels=labels).loss.backward()
            assert weight.grad is not None
            corner = weight.grad[: weight.shape[0] // 8, : weight.shape[1] // 8].float()
            values = torch.svd_lowrank(corner, q=min(16, *corner.shape))[1]
            shares = values / values.sum()
            shares = shares[shares > 0]
            found.append(float(-(shares * shares.log()).sum() / math.log(16)))
        return np.array(found)

    return measure


def _published_gradients(scenario: Scenario) -> Callable[[], Float[np.ndarray, "rows out rank"]]:
    """Each row forward and backward through all of PEFT's adapters, of which the last B is taken."""
    from peft import LoraConfig, get_peft_model

    base: Any = scenario.load()
    layout = last_value(network_for(base, scenario.layout), _RANK)
    [site] = layout.sites
    [(_, fresh, _)] = layout.factors(initial_adapter(layout, torch_stream(0, "screen/value-gradients")))
    config = LoraConfig(r=_RANK, lora_alpha=2 * _RANK, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model: Any = get_peft_model(base, config)
    module = model.base_model.model.get_submodule(site.name)
    module.lora_A.default.weight.data.copy_(fresh)
    last = module.lora_B.default.weight

    def measure() -> Float[np.ndarray, "rows out rank"]:
        found: list[np.ndarray] = []
        for row in scenario.train_rows:
            model.zero_grad()
            ids = torch.tensor([row.prompt + row.response])
            labels = torch.tensor([(-100,) * len(row.prompt) + row.response])
            model(input_ids=ids, labels=labels).loss.backward()
            found.append(last.grad.float().numpy().copy())
        return np.stack(found)

    return measure


_FEATURES = {
    "GradSentry": (_our_entropies, "published", _published_entropies),
    "ProtegoFed": (_our_gradients, "published", _published_gradients),
    "GradientShift": (_our_pulls, FORWARD, _forward),
}
