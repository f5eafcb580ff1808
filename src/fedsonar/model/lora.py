"""LoRA as PEFT has it: what is adapted, and how an adapter starts."""

from __future__ import annotations

import copy
import math
import re
import warnings
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fedsonar.model.foreign import LoraConfig, PreTrainedModel
from fedsonar.model.layout import Layout, Site
from fedsonar.model.skeleton import Skeleton


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
        from peft import LoraConfig

        targets = self.target_modules
        return LoraConfig(
            r=self.r,
            lora_alpha=self.alpha,
            target_modules=targets,
            lora_dropout=0.0,
            bias="none",
            task_type="CAUSAL_LM",
        )

    def layout(self, model: PreTrainedModel | Skeleton) -> Layout:
        """The modules that PEFT itself would adapt in `model`.

        Raises:
            ValueError: If PEFT finds no such module, or one that takes no adapter here; names the candidates.
        """
        head = model.get_output_embeddings()
        linear = [name for name, module in model.named_modules() if features(module) and module is not head]
        candidates = sorted({name.rsplit(".", 1)[-1] for name in linear})
        names = self._chosen(model) if isinstance(model, Skeleton) else self._chosen_by_peft(model)
        if not names:
            raise ValueError(
                f"target_modules {self.target_modules!r} fit no module of {model.config.model_type}; "
                f"choose among {', '.join(candidates)}, or 'all-linear'"
            )
        sites, offset = [], 0
        for name in names:
            module = model.get_submodule(name)
            width = features(module)
            if width is None or module is head:
                what = "no linear layer" if width is None else "the output layer, which takes no adapter here"
                raise ValueError(f"target module {name} is {what}; choose among {', '.join(candidates)}")
            sites.append(Site(name, *width, offset))
            offset += self.r * sum(width)
        return Layout(tuple(sites), self.r, self.alpha / self.r)

    def _chosen_by_peft(self, model: PreTrainedModel) -> list[str]:
        """What PEFT adapts in a weightless copy."""
        from peft import get_peft_model
        from peft.tuners.lora import LoraLayer
        from transformers import AutoModelForCausalLM

        with torch.device("meta"):
            bare = AutoModelForCausalLM.from_config(copy.deepcopy(model.config))  # type: ignore[no-untyped-call]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of PEFT's own housekeeping; nothing is trained here
                adapted = get_peft_model(bare, self.peft_config())
        except ValueError:
            return []
        modules = cast(nn.Module, adapted.base_model.model).named_modules()
        return [name for name, module in modules if isinstance(module, LoraLayer)]

    def _chosen(self, model: Skeleton) -> list[str]:
        """What PEFT would adapt in a plain Llama model, by its rules."""
        targets = self.target_modules if self.target_modules is not None else ["q_proj", "v_proj"]
        names = [name for name, module in model.named_modules() if name]
        if targets == "all-linear":
            head = model.get_output_embeddings()
            return [name for name in names if features(module := model.get_submodule(name)) and module is not head]
        if isinstance(targets, str):
            return [name for name in names if re.fullmatch(targets, name)]
        return [name for name in names if any(name == target or name.endswith(f".{target}") for target in targets)]


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


def random_adapter(layout: Layout, generator: torch.Generator) -> Float[Tensor, "dim"]:
    """An adapter that changes outputs, for probes and tests: as a fresh one, with B drawn like A."""
    flat = initial_adapter(layout, generator)
    for _, _, b in layout.factors(flat):
        b.uniform_(-1, 1, generator=generator).mul_(layout.rank**-0.5)
    return flat
