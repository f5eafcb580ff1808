"""ByzFL's rules, for tests that compare with them; such tests are skipped where it cannot be imported."""

import importlib
import importlib.util
import sys
import warnings
from types import ModuleType
from unittest.mock import MagicMock

import pytest

# ByzFL 0.0.11 imports it for its models and data, which no test needs, and it has no CPU build beside our torch.
_TORCHVISION = ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.models")


def import_byzfl() -> ModuleType:
    """The module `byzfl`, imported without torchvision; skips the test, or the whole module, where there is none."""
    absent = [name for name in ("byzfl", "matplotlib", "seaborn") if importlib.util.find_spec(name) is None]
    if absent:
        pytest.skip(
            f"no {' or '.join(absent)} here: pip install matplotlib seaborn, then pip install --no-deps byzfl==0.0.11",
            allow_module_level=True,
        )
    # Taken out again afterwards, so that nothing else takes the stand-ins for the package.
    stand_ins = [name for name in _TORCHVISION if name not in sys.modules]
    sys.modules.update({name: MagicMock() for name in stand_ins})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("byzfl")
    finally:
        for name in stand_ins:
            del sys.modules[name]
