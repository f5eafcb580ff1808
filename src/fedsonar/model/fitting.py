"""Which way through a model is right for it: tried on a probe, not believed by its name."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from fedsonar.data.template import TokenRow
from fedsonar.model.hosted import Hosted
from fedsonar.model.layout import Layout
from fedsonar.model.lean import LeanLlama
from fedsonar.model.lora import random_adapter
from fedsonar.model.network import Network
from fedsonar.model.stack import alone
from fedsonar.model.tree import TokenTree, lay_out

_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4}


def network_for(model: PreTrainedModel, layout: Layout, *, checkpointing: bool = False) -> Network:
    """The fastest network that gives this model's own losses: lean, hosted with trees, or hosted row by row.

    Args:
        model: Frozen base model.
        layout: The adapters' layout in it.
        checkpointing: Compute blocks again in the backward pass to save memory.

    Raises:
        ValueError: If `checkpointing` is asked of a model that has no lean path.
    """
    plain = Hosted(model, layout, trees=False)
    lean = LeanLlama(model, layout, checkpointing=checkpointing) if LeanLlama.fits(model) else None
    for network in (lean, Hosted(model, layout, trees=True)):
        if network is not None and _agree(network, plain):
            break
    else:
        network = plain
    if checkpointing and not isinstance(network, LeanLlama):
        raise ValueError(f"checkpointing needs a model of Llama's layout, and {model.config.model_type} has none")
    return network


@torch.no_grad()
def _agree(network: Network, plain: Network) -> bool:
    """Whether two rows with a common prefix get the losses, in one tree, that they get apart."""
    if _window(network.model):
        return False  # a probe is shorter than a sliding window, so it would not show one
    vocabulary: int = network.model.config.get_text_config().vocab_size
    draw = torch.Generator().manual_seed(0)
    first, *rest = torch.randint(vocabulary, (3, 4), generator=draw).tolist()
    rows = [TokenRow(str(i), (*first, *tail[:i]), tuple(tail[i:])) for i, tail in enumerate(rest)]
    adapter = random_adapter(network.layout, draw).to(network.model.device)
    factors = alone(network.layout, adapter, network.model.dtype)
    together = lay_out([TokenTree.of(rows)], 0).to(network.model.device)
    apart = [lay_out([TokenTree.of([row])], 0).to(network.model.device) for row in rows]
    expected = torch.stack([plain.losses(factors, batch)[0] for batch in apart]).sum()
    try:
        found = network.losses(factors, together)[0]
    except (RuntimeError, ValueError, TypeError):
        return False  # it takes no such mask
    return bool((found - expected).abs() <= _TOLERANCE.get(network.model.dtype, 3e-2) * expected.abs())


def _window(model: PreTrainedModel) -> bool:
    """Whether some of the model's attention forgets what is far."""
    config = model.config.get_text_config()
    return bool(getattr(config, "sliding_window", None)) and getattr(config, "use_sliding_window", True)
