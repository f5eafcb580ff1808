"""Sums of clients' tables of which the server learns the sum alone."""

from fedsonar.flower.secure.client import RefusalError, answer
from fedsonar.flower.secure.layout import Layout
from fedsonar.flower.secure.server import SecureSum, SumError, Summed

__all__ = ["Layout", "RefusalError", "SecureSum", "SumError", "Summed", "answer"]
