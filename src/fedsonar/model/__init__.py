"""Base models, their LoRA adapters, PEFT's format, and the ways through a model with many adapters."""

from fedsonar.model.fitting import network_for, open_network
from fedsonar.model.layout import Layout, Site
from fedsonar.model.loading import Base
from fedsonar.model.lora import Lora, initial_adapter, random_adapter
from fedsonar.model.network import Network
from fedsonar.model.peft_io import load_adapter, lora_of, save_adapter
from fedsonar.model.space import Space, SpaceName, space_of
from fedsonar.model.stack import AdapterStack
from fedsonar.model.tree import TokenTree, tokens_per_pass

__all__ = [
    "AdapterStack", "Base", "Layout", "Lora", "Network", "Site", "Space", "SpaceName", "TokenTree",
    "initial_adapter", "load_adapter", "lora_of", "network_for", "open_network", "random_adapter", "save_adapter",
    "space_of", "tokens_per_pass",
]  # fmt: skip
