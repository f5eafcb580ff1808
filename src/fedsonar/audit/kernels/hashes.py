"""Hashes of 64 bits: of bytes one after another, of numbers, and of two hashes in order."""

from __future__ import annotations

import numpy as np

from fedsonar.compiling import kernel

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_MORE = np.uint64(0xBF58476D1CE4E5B9)


@kernel
def taken_in(value, byte):
    """The hash of some bytes and one more (FNV-1a's)."""
    return (value ^ np.uint64(byte)) * np.uint64(0x100000001B3)


@kernel
def mixed(value):
    """A bijection of 64-bit numbers whose every bit of output hangs on every bit of input (SplitMix64's, shortened)."""
    value = (value ^ (value >> np.uint64(30))) * _MORE
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@kernel
def joined(left, right):
    """The hash of two hashes in this order."""
    return mixed(left * _PRIME + right + np.uint64(1))
