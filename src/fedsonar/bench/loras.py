"""The adapters that are measured."""

from __future__ import annotations

from fedsonar.model import Lora

LORAS = {"qv": Lora(), "all-linear": Lora(r=8, alpha=16, target_modules="all-linear")}
"""The field's usual adapter (r = 4 on PEFT's own choice, queries and values), and r = 8 on all seven projections."""
