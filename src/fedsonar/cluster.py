"""A connection to Ray, or to a Ray of our own on this machine."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from fedsonar.errors import ConfigError

INSTALL = "Ray is not installed; get it with: pip install 'fedsonar[ray]'"
_PATIENCE = 10.0
"""Seconds that a cluster may take to answer."""


@contextmanager
def connected(address: str | None, source: str, **options: Any) -> Iterator[Any]:
    """Ray, connected to a cluster until the block ends; workers find plugins where this process does.

    Args:
        address: The cluster's, ``10.0.0.1:6379`` or ``ray://10.0.0.1:10001`` say; ``auto`` for the one that runs on
            this machine; None starts Ray anew here.
        source: Where the address comes from, for the error: the name of an option or of a variable.
        options: Further ones of ``ray.init``.

    Raises:
        ConfigError: If Ray is not installed, there is no cluster at the address, or no Ray starts here.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # workers see the devices that their node shows
    try:
        import ray
    except ImportError as error:
        raise ConfigError(INSTALL) from error
    refusal = f"{source} {address}: no Ray cluster there; start one with 'ray start --head', or name another address"
    if address not in (None, "auto") and not _answers(address):
        raise ConfigError(refusal)
    paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        ray.init(address=address or "local", runtime_env={"env_vars": paths}, **quiet, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        said = f"Ray does not start on this machine: {' '.join(str(error).split())}"
        raise ConfigError(said if address is None else refusal) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _answers(address: str) -> bool:
    """Whether anything listens at an address: Ray itself would take minutes to say that nothing does."""
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    try:
        if not parts.hostname or not parts.port:
            return False
        with socket.create_connection((parts.hostname, parts.port), timeout=_PATIENCE):
            return True
    except (OSError, ValueError):  # ValueError: a port that is no number
        return False
