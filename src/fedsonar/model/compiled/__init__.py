"""The compiled path through models of Llama's layout on processors."""

from fedsonar.model.compiled.network import CompiledLlama

__all__ = ["CompiledLlama"]
