"""The lean path through models of Llama's layout: the same weights and results, and only the work that is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from fedsonar.model.answering import answer
from fedsonar.model.block import LlamaBlock, Rotation, looks_like_llama
from fedsonar.model.layout import Layout
from fedsonar.model.network import PaddedNetwork
from fedsonar.model.pieces import blinding, response_losses, rms_norm
from fedsonar.model.stack import Factors, alone
from fedsonar.model.tree import IGNORED, PackedBatch


class LeanLlama(PaddedNetwork):
    """A model of Llama's layout, block by block on its own weights.

    Beside the pieces, what it saves is the last block's work at places that predict nothing, and logits there.

    Args:
        model: Frozen base model; see `fits`.
        layout: The adapters' layout in it.
        checkpointing: Compute each block again in the backward pass: slower, and far less memory.
    """

    trees = True

    def __init__(self, model: PreTrainedModel, layout: Layout, *, checkpointing: bool = False) -> None:
        super().__init__(model, layout)
        self.checkpointing = checkpointing

    @staticmethod
    def fits(model: PreTrainedModel) -> bool:
        """Whether the model looks like Llama; whether it computes like Llama is for `network_for` to try."""
        return looks_like_llama(model)

    def blocks(self, factors: Mapping[str, Factors]) -> list[LlamaBlock]:
        """The model's blocks with the adapters in them."""
        model: Any = self.model
        return [
            LlamaBlock(module, factors, f"model.layers.{number}.", self.layout.scale)
            for number, module in enumerate(model.model.layers)
        ]

    def start(self, ids: Int[Tensor, "sequences length"], positions: Int[Tensor, "sequences length"]) -> Any:
        """What the first block reads, and the rotation that all of them use."""
        model: Any = self.model
        x = model.model.embed_tokens(ids)
        return x, Rotation.of(model.model.rotary_emb, x, positions)

    def through(
        self, blocks: Sequence[LlamaBlock], batch: PackedBatch, kept: list[tuple[Tensor, Tensor]] | None = None
    ) -> Float[Tensor, "sequences predictions width"]:
        """Hidden states before the last norm where response tokens are predicted; `kept` as in `LlamaBlock`."""
        x, rotation = self.start(batch.ids, batch.positions)
        bias = blinding(batch.visible()[:, None], x.dtype)
        for block in blocks:
            arguments = (x, rotation, bias, batch.at if block is blocks[-1] else None, kept)
            x = checkpoint(block, *arguments, use_reentrant=False) if self.checkpointing else block(*arguments)
        return cast(Tensor, x)

    def last_norm(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """What the output layer reads."""
        norm: Any = self.model.get_submodule("model.norm")
        return rms_norm(x, norm.weight, norm.variance_epsilon)

    def losses(self, factors: Mapping[str, Factors], batch: PackedBatch) -> Float[Tensor, "sequences"]:
        """Each sequence's loss summed over its response tokens; see `PaddedNetwork.losses`."""
        x = self.through(self.blocks(factors), batch)
        learn = batch.labels != IGNORED
        model: Any = self.model
        losses = response_losses(self.last_norm(x[learn]), model.get_output_embeddings().weight, batch.labels[learn])
        return losses.new_zeros(len(learn)).index_add(0, learn.nonzero()[:, 0], losses)

    def read(self, factors: Mapping[str, Factors], batch: PackedBatch) -> Float[Tensor, "sequences predictions width"]:
        """What the output layer reads; see `PaddedNetwork.read`."""
        return self.last_norm(self.through(self.blocks(factors), batch))

    def on(self, layout: Layout) -> LeanLlama:
        """The same for another layout; see `Network.on`."""
        return LeanLlama(self.model, layout, checkpointing=self.checkpointing)

    def answers(
        self, adapter: Float[Tensor, "dim"], prompts: Sequence[Sequence[int]], *, limit: int, stops: frozenset[int],
        together: int = 128,
    ) -> list[list[int]]:  # fmt: skip
        """Greedy answers to the prompts; see `Network.answers`."""
        factors = alone(self.layout, adapter.to(self.model.device), self.model.dtype)
        return answer(self, factors, prompts, limit=limit, stops=stops, together=together)
