"""Noise of a client that nobody can average away: a pass of a private screen is told once, and again only the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import numpy as np
from flwr.app import ConfigRecord, Context

from fedsonar.flower.secure import RefusalError
from fedsonar.screen import Screen, Tables

RECORD = "fedsonar.noise"
"""The record in a client's state: a secret of its own, and what it told in each pass, as a hash under that secret."""


def told(context: Context, screen: Screen, summary: Tables, heard: Sequence[Tables]) -> Tables:
    """What leaves the client of a summary; of a screen that promises no privacy, the summary.

    The noise comes from a secret that the client draws from its system and keeps in Flower's state of the run. Asked
    the same again it tells the same, noise included; asked something else in that pass, it refuses. Another run spends
    the promise once more.

    Args:
        context: The client's.
        screen: What promises.
        summary: The client's counts in the next pass.
        heard: What the server said of the passes before.

    Raises:
        RefusalError: If something else was told in this pass before.
    """
    if screen.epsilon is None:
        return summary
    kept = context.state.get(RECORD)
    kept = kept if isinstance(kept, ConfigRecord) else ConfigRecord({"secret": os.urandom(32)})
    secret, turn = kept["secret"], f"pass {len(heard) + 1}"
    assert isinstance(secret, bytes)
    digest = hashlib.blake2b(turn.encode(), key=secret)
    for tables in (*heard, summary):
        for name in sorted(tables):
            table = np.ascontiguousarray(tables[name])
            digest.update(f"{name} {table.dtype} {table.shape} ".encode())
            digest.update(table.data)
    asked = digest.digest()
    if kept.get(turn, asked) != asked:
        raise RefusalError(
            f"{turn} of {type(screen).__name__} was told once with epsilon {screen.epsilon:g}, and something else is "
            "asked now, or the rows have changed: start another run, which spends as much again"
        )
    kept[turn] = asked
    context.state[RECORD] = kept
    seed = hashlib.blake2b(asked, key=secret, digest_size=32).digest()
    return screen.noised(summary, np.random.default_rng(int.from_bytes(seed, "big")))
