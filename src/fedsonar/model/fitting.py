"""Which way through a model is right for it: tried on a probe, not believed by its name."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from fedsonar.data.template import TokenRow
from fedsonar.model.compiled import CompiledLlama
from fedsonar.model.foreign import PreTrainedModel
from fedsonar.model.layout import Layout
from fedsonar.model.loading import Base
from fedsonar.model.lora import Lora, random_adapter
from fedsonar.model.network import Network
from fedsonar.model.pieces import wide
from fedsonar.model.stack import AdapterStack

_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4}


def open_network(base: Base, lora: Lora, *, checkpointing: bool = False) -> Network:
    """The fastest network for a base model and an adapter.

    Transformers' code is loaded only where it is needed: not for a plain Llama checkpoint on a processor.

    Raises:
        ValueError: If the checkpoint cannot be loaded, or `checkpointing` is asked of a model that has no lean path.
    """
    skeleton = None if checkpointing else base.skeleton()
    if skeleton is not None and CompiledLlama.fits(skeleton):
        return CompiledLlama(skeleton, lora.layout(skeleton))
    model = base.model()
    return network_for(model, lora.layout(model), checkpointing=checkpointing)


def network_for(model: PreTrainedModel, layout: Layout, *, checkpointing: bool = False) -> Network:
    """The fastest network that gives this model's own losses: compiled, lean, hosted with trees, or hosted row by row.

    Args:
        model: Frozen base model.
        layout: The adapters' layout in it.
        checkpointing: Compute blocks again in the backward pass to save memory.

    Raises:
        ValueError: If `checkpointing` is asked of a model that has no lean path.
    """
    from fedsonar.model.hosted import Hosted
    from fedsonar.model.lean import LeanLlama

    plain = Hosted(model, layout, trees=False)
    network: Network = plain
    for candidate in _candidates(model, layout, checkpointing):
        if _agree(candidate, plain):
            network = candidate
            break
    if checkpointing and not isinstance(network, LeanLlama):
        raise ValueError(f"checkpointing needs a model of Llama's layout, and {model.config.model_type} has none")
    return network


def _candidates(model: PreTrainedModel, layout: Layout, checkpointing: bool) -> Iterator[Network]:
    from fedsonar.model.hosted import Hosted
    from fedsonar.model.lean import LeanLlama

    if CompiledLlama.fits(model) and not checkpointing:
        yield CompiledLlama(model, layout)
    if LeanLlama.fits(model):
        yield LeanLlama(model, layout, checkpointing=checkpointing)
    yield Hosted(model, layout, trees=True)


def _agree(network: Network, plain: Network) -> bool:
    """Whether two clients get the losses together, rows with a common prefix in one tree, that they get apart."""
    if _window(network.model):
        return False  # a probe is shorter than a sliding window, so it would not show one
    vocabulary: int = network.model.config.get_text_config().vocab_size
    draw = torch.Generator().manual_seed(0)
    first, *rest = torch.randint(vocabulary, (4, 4), generator=draw).tolist()
    rows = [TokenRow(str(i), (*first, *tail[:i]), tuple(tail[i:])) for i, tail in enumerate(rest)]
    batches = [rows[:2], rows[1:]]
    adapters = torch.stack([random_adapter(network.layout, draw) for _ in batches])
    adapters = adapters.to(network.model.device, wide(network.model.dtype))
    expected = torch.cat([
        plain.add_gradients(AdapterStack(plain.layout, own[None]), [batch])
        for own, batch in zip(adapters, batches, strict=True)
    ])  # fmt: skip
    try:
        found = network.add_gradients(AdapterStack(network.layout, adapters), batches)
    except (RuntimeError, ValueError, TypeError):
        if not getattr(network, "trees", False):
            raise
        return False  # it takes no such mask
    finally:
        network.positions = plain.positions = 0
    return torch.allclose(found, expected, rtol=_TOLERANCE.get(network.model.dtype, 3e-2), atol=0)


def _window(model: PreTrainedModel) -> bool:
    """Whether some of the model's attention forgets what is far."""
    config = model.config.get_text_config()
    return bool(getattr(config, "sliding_window", None)) and getattr(config, "use_sliding_window", True)
