"""Adapters in and out in PEFT's format: a folder with adapter_config.json and adapter_model.safetensors."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from fedsonar.model.layout import Layout
from fedsonar.model.lora import Lora
from fedsonar.writing import write_whole

_PREFIX = "base_model.model."
_VARIANTS = ("use_dora", "use_rslora", "alpha_pattern", "rank_pattern")


def save_adapter(folder: Path, flat: Float[Tensor, "dim"], layout: Layout, lora: Lora, base: str) -> None:
    """Writes `flat` so that ``PeftModel.from_pretrained(model, folder)`` loads it; `base` names the base model.

    Both files appear whole or not at all, the configuration last.
    """
    # As PEFT's own `LoraConfig` would write it, which takes seconds to load; PEFT fills in what is left out.
    config = {
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": lora.alpha,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": lora.r,
        # Full names, so that exactly the trained modules are adapted wherever the adapter is loaded.
        "target_modules": sorted(site.name for site in layout.sites),
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }
    tensors = {}
    for site, a, b in layout.factors(flat):
        tensors[f"{_PREFIX}{site.name}.lora_A.weight"] = a.contiguous()
        tensors[f"{_PREFIX}{site.name}.lora_B.weight"] = b.contiguous()
    write_whole(folder / "adapter_model.safetensors", save(tensors, metadata={"format": "pt"}))
    write_whole(folder / "adapter_config.json", (json.dumps(config, indent=2) + "\n").encode())


def lora_of(folder: Path) -> Lora:
    """How the adapter in a PEFT folder was made.

    Raises:
        ValueError: If the folder holds no LoRA adapter.
    """
    if not (folder / "adapter_config.json").is_file():
        lacks = "there is no adapter_config.json" if folder.is_dir() else "there is no such folder"
        raise ValueError(f"{str(folder)!r} holds no readable PEFT adapter: {lacks}; give the folder of one")
    try:
        config = json.loads((folder / "adapter_config.json").read_text())
        return Lora(r=config["r"], alpha=config["lora_alpha"], target_modules=config["target_modules"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        what = f"its configuration lacks {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{str(folder)!r} holds no readable PEFT adapter: {what}") from error


def load_adapter(folder: Path, layout: Layout) -> Float[Tensor, "dim"]:
    """The flat adapter of a PEFT folder, laid out as `layout`.

    Raises:
        ValueError: If the folder holds no LoRA adapter, or one for other modules, ranks or scales.
    """
    try:
        config = json.loads((folder / "adapter_config.json").read_text())
        tensors = load_file(folder / "adapter_model.safetensors")
    except (OSError, json.JSONDecodeError, SafetensorError) as error:
        raise ValueError(f"{str(folder)!r} holds no readable PEFT adapter: {error}") from error
    if config.get("peft_type") != "LORA" or any(config.get(name) for name in _VARIANTS):
        raise ValueError(
            f"the adapter in {str(folder)!r} is no plain LoRA adapter; DoRA, rsLoRA, alpha_pattern and rank_pattern "
            "are not supported"
        )
    scale = config["lora_alpha"] / config["r"]
    if (config["r"], scale) != (layout.rank, layout.scale):
        raise ValueError(
            f"the adapter in {str(folder)!r} has r={config['r']} and scale {scale:g}, "
            f"expected r={layout.rank} and scale {layout.scale:g}"
        )
    flat = torch.empty(layout.dim)
    for site, a, b in layout.factors(flat):
        for factor, part in ((a, "lora_A"), (b, "lora_B")):
            key = f"{_PREFIX}{site.name}.{part}.weight"
            if key not in tensors or tensors[key].shape != factor.shape:
                raise ValueError(f"the adapter in {str(folder)!r} has no {key} of shape {tuple(factor.shape)}")
            factor.copy_(tensors.pop(key))
    if tensors:
        raise ValueError(f"the adapter in {str(folder)!r} also adapts {next(iter(tensors))}, which is no target here")
    return flat
