"""Contract checks for components, ours and yours: ``check_aggregator(MyRule())`` in a test of any framework."""

from fedsonar.testing.aggregator import check_aggregator
from fedsonar.testing.poison import check_placement, check_target, check_trigger
from fedsonar.testing.repair import check_repair
from fedsonar.testing.samples import SAMPLES
from fedsonar.testing.screen import check_screen

__all__ = [
    "SAMPLES",
    "check_aggregator",
    "check_placement",
    "check_repair",
    "check_screen",
    "check_target",
    "check_trigger",
]
