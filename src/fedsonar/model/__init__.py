"""Base models, their LoRA adapters, and PEFT's format."""

from fedsonar.model.layout import Layout, Site
from fedsonar.model.loading import Base
from fedsonar.model.lora import AdapterStack, Lora, initial_adapter
from fedsonar.model.peft_io import load_adapter, save_adapter

__all__ = ["AdapterStack", "Base", "Layout", "Lora", "Site", "initial_adapter", "load_adapter", "save_adapter"]
