"""FedSonar hears the backdoor before the federation averages it in.

It simulates federated instruction tuning, plants low-concentration poison over honest clients, measures the backdoor's
signal against the federation's noise, and runs defenses against it.
"""

from importlib.metadata import version

from fedsonar.experiment import ConfigError, Experiment
from fedsonar.federation import Progress, run
from fedsonar.records import Run

__all__ = ["ConfigError", "Experiment", "Progress", "Run", "run"]
__version__ = version("fedsonar")
