"""Any causal language model as it comes, with its adapted layers swapped for stacked ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, PreTrainedModel

from fedsonar.model.layout import Layout
from fedsonar.model.network import PaddedNetwork
from fedsonar.model.pieces import wide
from fedsonar.model.stack import Factors, alone
from fedsonar.model.tree import IGNORED, PackedBatch


class StackedLinear(nn.Module):
    """A frozen linear layer with one adapter for each of K equal groups of rows."""

    def __init__(self, base: nn.Module, factors: Factors, scale: float) -> None:
        super().__init__()
        self.base = base
        self.a, self.b = factors
        self.scale = scale

    def forward(self, x: Float[Tensor, "rows length in"]) -> Float[Tensor, "rows length out"]:
        """Base output plus each group's own low-rank term."""
        out: Tensor = self.base(x)
        groups = x.reshape(self.a.shape[0], -1, x.shape[-1]).to(self.a.dtype)
        low = torch.bmm(groups, self.a.transpose(1, 2))
        high = torch.bmm(low * self.scale, self.b.transpose(1, 2))
        return out + high.to(out.dtype).view_as(out)


@contextmanager
def plugged_into(model: PreTrainedModel, layout: Layout, factors: Mapping[str, Factors]) -> Iterator[None]:
    """Swaps the model's sites for stacked ones, and puts the originals back at the end."""
    originals = {site.name: model.get_submodule(site.name) for site in layout.sites}

    def put(name: str, module: nn.Module) -> None:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, module)

    try:
        for name, original in originals.items():
            put(name, StackedLinear(original, factors[name], layout.scale))
        yield
    finally:
        for name, original in originals.items():
            put(name, original)


@contextmanager
def reading_only(head: nn.Module, places: tuple[Tensor, ...], seen: list[Tensor]) -> Iterator[None]:
    """Lets an output layer see nothing but the hidden states at some places, as one sequence; `seen` takes them in."""

    def narrow(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        seen.append(inputs[0][places])
        return (seen[-1][None], *inputs[1:])

    handle = head.register_forward_pre_hook(narrow)
    try:
        yield
    finally:
        handle.remove()


class Hosted(PaddedNetwork):
    """Losses through the model's own forward pass, whatever its architecture.

    Args:
        model: Frozen base model.
        layout: The adapters' layout in it.
        trees: Whether the model may be given trees of rows, with a mask of their own.
    """

    def __init__(self, model: PreTrainedModel, layout: Layout, *, trees: bool) -> None:
        super().__init__(model, layout)
        self.trees = trees

    def losses(self, factors: Mapping[str, Factors], batch: PackedBatch) -> Float[Tensor, "sequences"]:
        """Each sequence's loss summed over its response tokens; see `PaddedNetwork.losses`."""
        learn = batch.labels != IGNORED
        owner = _sequences(batch).expand_as(learn)[learn]
        logits = self._logits(factors, batch, (owner, batch.at[learn]), [])
        losses = cross_entropy(logits[0].to(wide(logits.dtype)), batch.labels[learn], reduction="none")
        return losses.new_zeros(len(batch.ids)).index_add(0, owner, losses)

    def read(self, factors: Mapping[str, Factors], batch: PackedBatch) -> Float[Tensor, "sequences predictions width"]:
        """What the output layer reads; see `PaddedNetwork.read`."""
        seen: list[Tensor] = []
        self._logits(factors, batch, (_sequences(batch).expand_as(batch.at).reshape(-1), batch.at.reshape(-1)), seen)
        return seen[0].view(*batch.at.shape, -1)

    def _logits(
        self, factors: Mapping[str, Factors], batch: PackedBatch, places: tuple[Tensor, ...], seen: list[Tensor]
    ) -> Tensor:
        """The model's logits at some places, as one sequence; `seen` takes in what the output layer read there."""
        # A row that stands alone is padded behind, where a causal model does not look: it needs no mask.
        arranged: dict[str, Any] = (
            {"attention_mask": batch.visible()[:, None], "position_ids": batch.positions} if self.trees else {}
        )
        model: Any = self.model
        with (
            plugged_into(self.model, self.layout, factors),
            reading_only(model.get_output_embeddings(), places, seen),
        ):
            logits: Tensor = model(input_ids=batch.ids, use_cache=False, **arranged).logits
        return logits

    def on(self, layout: Layout) -> Hosted:
        """The same for another layout; see `Network.on`."""
        return Hosted(self.model, layout, trees=self.trees)

    @torch.inference_mode()
    def answers(
        self, adapter: Float[Tensor, "dim"], prompts: Sequence[Sequence[int]], *, limit: int, stops: frozenset[int],
        together: int = 128,
    ) -> list[list[int]]:  # fmt: skip
        """Greedy answers to the prompts, those of similar length together; see `Network.answers`."""
        model: Any = self.model
        pad = min(stops)
        config = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=limit, do_sample=False, num_beams=1, repetition_penalty=1.0, no_repeat_ngram_size=0,
            eos_token_id=sorted(stops), pad_token_id=pad,
        )  # fmt: skip
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        answers: list[list[int]] = [[] for _ in prompts]
        with plugged_into(self.model, self.layout, alone(self.layout, adapter.to(model.device), model.dtype)):
            for start in range(0, len(order), together):
                part = order[start : start + together]
                width = max(len(prompts[i]) for i in part)
                ids = torch.tensor([[pad] * (width - len(prompts[i])) + list(prompts[i]) for i in part])
                mask = torch.tensor([[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in part])
                asked = {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device)}
                for i, found in zip(part, model.generate(**asked, generation_config=config)[:, width:], strict=True):
                    answers[i] = list(takewhile(lambda token: token not in stops, found.tolist()))
        return answers


def _sequences(batch: PackedBatch) -> Int[Tensor, "sequences 1"]:
    """The number of each sequence."""
    return torch.arange(len(batch.ids), device=batch.ids.device)[:, None]
