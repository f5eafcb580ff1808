"""The peer: one client after another with PEFT, as public code for federated instruction tuning trains them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from peft import get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from fedsonar.bench.shapes import END, PAD
from fedsonar.data import TokenRow
from fedsonar.engine import Training
from fedsonar.model import Layout, Lora
from fedsonar.model.tree import IGNORED


class PeftClients:
    """A model wrapped by PEFT once, and the clients of a round trained on it in turn.

    A client copies the global adapter into the model, takes a fresh ``torch.optim.AdamW``, and steps through batches
    that are padded to their longest row, with full logits and the model's own loss by ``labels=``, clipping and a
    linear schedule. It is a lean form of what is published: no Trainer around the steps, no state dicts between
    clients, no data loader, no host synchronisation a step.

    Args:
        model: Base model; PEFT swaps layers of it.
        lora: The adapter.
        layout: Its layout in the model.
        training: How a client trains.

    References:
        Zhang et al., 2023 (Shepherd), arXiv:2305.05644; Ye et al., 2024 (OpenFedLLM), arXiv:2402.06954.
    """

    def __init__(self, model: PreTrainedModel, lora: Lora, layout: Layout, training: Training) -> None:
        self.layout = layout
        self.training = training
        self.model = get_peft_model(model, lora.peft_config())
        self.device = model.device
        self._factors: dict[str, tuple[nn.Parameter, nn.Parameter]] = {}
        for site in layout.sites:
            module: Any = self.model.get_submodule(f"base_model.model.{site.name}")
            self._factors[site.name] = module.lora_A["default"].weight, module.lora_B["default"].weight

    def load(self, adapter: Float[Tensor, "dim"]) -> None:
        """Copies a flat adapter into the model."""
        with torch.no_grad():
            for site, a, b in self.layout.factors(adapter):
                for parameter, factor in zip(self._factors[site.name], (a, b), strict=True):
                    parameter.copy_(factor)

    def adapter(self) -> Float[Tensor, "dim"]:
        """A flat copy of the adapter in the model."""
        flat = torch.empty(self.layout.dim)
        for site, a, b in self.layout.factors(flat):
            for parameter, factor in zip(self._factors[site.name], (a, b), strict=True):
                factor.copy_(parameter.detach())
        return flat

    def train_client(self, start: Float[Tensor, "dim"], batches: Sequence[Sequence[TokenRow]]) -> Float[Tensor, "dim"]:
        """One client's update: its adapter after its batches minus `start`."""
        options = self.training
        self.load(start)
        self.model.train()
        parameters = [parameter for pair in self._factors.values() for parameter in pair]
        optimiser = torch.optim.AdamW(
            parameters, lr=options.lr, betas=(options.beta1, options.beta2), eps=options.eps,
            weight_decay=options.weight_decay,
        )  # fmt: skip
        linear = options.schedule == "linear"
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / len(batches) if linear else 1.0)
        for batch in batches:
            ids, mask, labels = (tensor.to(self.device) for tensor in pad_right(batch))
            loss = self.model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, options.max_grad_norm)
            optimiser.step()
            schedule.step()
        return self.adapter() - start

    def train_round(
        self, start: Float[Tensor, "dim"], clients: Sequence[Sequence[Sequence[TokenRow]]]
    ) -> Float[Tensor, "clients dim"]:
        """The clients' updates from the same start, trained one after another.

        Args:
            start: The global adapter.
            clients: Each client's batches.
        """
        return torch.stack([self.train_client(start, batches) for batches in clients])

    def answer(
        self, adapter: Float[Tensor, "dim"], rows: Sequence[TokenRow], *, max_new_tokens: int, batch_size: int = 16
    ) -> list[list[int]]:
        """The greedy continuation of each prompt in tokens: batches in the order of the rows, padded on the left."""
        self.load(adapter)
        self.model.eval()
        answers = []
        for first in range(0, len(rows), batch_size):
            prompts = [row.prompt for row in rows[first : first + batch_size]]
            width = max(map(len, prompts))
            ids = torch.tensor([[PAD] * (width - len(prompt)) + [*prompt] for prompt in prompts])
            mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
            out: Tensor = self.model.generate(  # type: ignore[no-untyped-call]
                input_ids=ids.to(self.device), attention_mask=mask.to(self.device), max_new_tokens=max_new_tokens,
                do_sample=False, use_cache=True, eos_token_id=END, pad_token_id=PAD,
            )  # fmt: skip
            answers += out[:, width:].tolist()
        return answers


def pad_right(
    rows: Sequence[TokenRow],
) -> tuple[Int[Tensor, "rows length"], Int[Tensor, "rows length"], Int[Tensor, "rows length"]]:
    """Token ids, attention mask and labels of a batch, padded on the right to its longest row."""
    longest = max(row.length for row in rows)
    ids = torch.full((len(rows), longest), PAD)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
    for place, row in enumerate(rows):
        ids[place, : row.length] = torch.tensor(row.prompt + row.response)
        mask[place, : row.length] = 1
        labels[place, len(row.prompt) : row.length] = torch.tensor(row.response)
    return ids, mask, labels
