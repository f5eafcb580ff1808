"""FedSonar hears the backdoor before the federation averages it in.

It simulates federated instruction tuning, plants low-concentration poison over honest clients, measures the backdoor's
signal against the federation's noise, and runs defenses against it.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedsonar.errors import ConfigError
    from fedsonar.experiment import Experiment
    from fedsonar.federation import Progress, run
    from fedsonar.records import Run

__all__ = ["ConfigError", "Experiment", "Progress", "Run", "run"]
__version__ = version("fedsonar")

_HOMES = {
    "ConfigError": "errors",
    "Experiment": "experiment",
    "Progress": "federation",
    "Run": "records",
    "run": "federation",
}


def __getattr__(name: str) -> Any:
    """A public name, whose module is loaded when it is first asked for: what needs none of them starts at once."""
    if name in _HOMES:
        return getattr(import_module(f"fedsonar.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
