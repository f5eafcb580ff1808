"""Many LoRA adapters on one frozen model: the rows of K clients go through it together, each with its own adapter."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from fedsonar.model.layout import Layout, Site


@dataclass(frozen=True, kw_only=True)
class Lora:
    """A LoRA adapter: ``W + (alpha / r) B A``, A random and B zero at the start.

    Args:
        r: Rank.
        alpha: Numerator of the scale.
        target_modules: Module names as PEFT reads them (suffixes), ``all-linear``, or None for PEFT's own choice.

    References:
        Hu et al., 2021, arXiv:2106.09685, section 4.1.
    """

    r: int = 4
    alpha: int = 8
    target_modules: list[str] | str | None = None

    def __post_init__(self) -> None:
        if self.r < 1:
            raise ValueError(f"LoRA rank r must be at least 1, got {self.r}")

    def peft_config(self) -> LoraConfig:
        """The same adapter in PEFT's words."""
        targets = self.target_modules
        return LoraConfig(
            r=self.r,
            lora_alpha=self.alpha,
            target_modules=targets,
            lora_dropout=0.0,
            bias="none",
            task_type="CAUSAL_LM",
        )

    def layout(self, model: PreTrainedModel) -> Layout:
        """The modules that PEFT itself would adapt in `model`, found by letting PEFT adapt a weightless copy.

        Raises:
            ValueError: If PEFT finds no such module; names the candidates.
        """
        with torch.device("meta"):
            bare = AutoModelForCausalLM.from_config(copy.deepcopy(model.config))  # type: ignore[no-untyped-call]
        candidates = sorted({name.rsplit(".", 1)[-1] for name, module in bare.named_modules() if features(module)})
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of PEFT's own housekeeping; nothing is trained here
                adapted = get_peft_model(bare, self.peft_config())
        except ValueError as error:
            raise ValueError(
                f"target_modules {self.target_modules!r} fit no module of {model.config.model_type}; "
                f"choose among {', '.join(candidates)}, or 'all-linear'"
            ) from error
        sites, offset = [], 0
        for name, module in cast(nn.Module, adapted.base_model.model).named_modules():
            if isinstance(module, LoraLayer):
                width = features(model.get_submodule(name))
                if width is None:
                    raise ValueError(f"target module {name} is no linear layer; choose among {', '.join(candidates)}")
                sites.append(Site(name, *width, offset))
                offset += self.r * sum(width)
        return Layout(tuple(sites), self.r, self.alpha / self.r)


def features(module: nn.Module) -> tuple[int, int] | None:
    """Input and output width of a linear module (GPT-2's Conv1D is one), None for any other."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if type(module).__name__ == "Conv1D":
        weight = module.weight
        assert isinstance(weight, Tensor)
        return weight.shape[0], weight.shape[1]
    return None


def initial_adapter(layout: Layout, generator: torch.Generator) -> Float[Tensor, "dim"]:
    """A fresh adapter as PEFT draws it: A from Kaiming's uniform with a = sqrt(5), B zero."""
    flat = torch.zeros(layout.dim)
    for site, a, _ in layout.factors(flat):
        bound = 1 / math.sqrt(site.in_features)
        a.uniform_(-bound, bound, generator=generator)
    return flat


class StackedLinear(nn.Module):
    """A frozen linear layer with one adapter for each of K equal groups of rows."""

    def __init__(self, base: nn.Module, scale: float) -> None:
        super().__init__()
        self.base = base
        self.scale = scale
        self.a: Float[Tensor, "clients rank in"]
        self.b: Float[Tensor, "clients out rank"]

    def forward(self, x: Float[Tensor, "rows length in"]) -> Float[Tensor, "rows length out"]:
        """Base output plus each group's own low-rank term."""
        out: Tensor = self.base(x)
        groups = x.reshape(self.a.shape[0], -1, x.shape[-1]).to(self.a.dtype)
        low = torch.bmm(groups, self.a.transpose(1, 2))
        high = torch.bmm(low * self.scale, self.b.transpose(1, 2))
        return out + high.to(out.dtype).view_as(out)


class AdapterStack:
    """K adapters in one (K, dim) matrix, with their gradients in another, plugged into a model.

    The factors that the modules use are views of the matrix, so that an optimiser handles all adapters as one tensor.

    Args:
        layout: Where each factor lies.
        adapters: Starting values, changed in place by whoever trains.
    """

    def __init__(self, layout: Layout, adapters: Float[Tensor, "clients dim"]) -> None:
        self.layout = layout
        self.adapters = adapters
        self.grad = torch.zeros_like(adapters)
        self._modules: dict[str, StackedLinear] = {}
        self._leaves: list[Tensor] = []
        self._leaf_grads: list[Tensor] = []

    def activate(self, clients: int) -> None:
        """Lets the first `clients` adapters take part: rows must now come in that many equal groups."""
        self._leaves, self._leaf_grads = [], []
        gradients = self.layout.factors(self.grad[:clients])
        for (site, a, b), (_, a_grad, b_grad) in zip(
            self.layout.factors(self.adapters[:clients]), gradients, strict=True
        ):
            module = self._modules[site.name]
            module.a, module.b = a.detach().requires_grad_(), b.detach().requires_grad_()
            self._leaves += [module.a, module.b]
            self._leaf_grads += [a_grad, b_grad]

    def backward(self, loss: Float[Tensor, ""]) -> None:
        """Adds the gradient of `loss` by the active adapters to `grad`."""
        torch._foreach_add_(self._leaf_grads, torch.autograd.grad(loss, self._leaves))

    @contextmanager
    def plugged_into(self, model: PreTrainedModel) -> Iterator[AdapterStack]:
        """Swaps the model's sites for stacked ones, all adapters active, and puts the originals back at the end."""
        parents = {site.name: site.name.rpartition(".") for site in self.layout.sites}
        originals = {name: model.get_submodule(name) for name in parents}
        try:
            for name, (parent, _, child) in parents.items():
                self._modules[name] = StackedLinear(originals[name], self.layout.scale)
                setattr(model.get_submodule(parent), child, self._modules[name])
            self.activate(len(self.adapters))
            yield self
        finally:
            for name, (parent, _, child) in parents.items():
                setattr(model.get_submodule(parent), child, originals[name])
            self._modules.clear()
