"""Loops that no library has, compiled for the processor at hand, and threads to run them side by side."""

from fedsonar.compiling.cache import compiled_before
from fedsonar.compiling.kernel import keep, kernel
from fedsonar.compiling.lanes import Lanes, shared_out

__all__ = ["Lanes", "compiled_before", "keep", "kernel", "shared_out"]
