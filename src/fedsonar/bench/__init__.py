"""The performance suite: FedSonar beside the peers and beside the machine's peak, in one run, taking turns."""

from fedsonar.bench.options import Options
from fedsonar.bench.suite import PARTS, measure

__all__ = ["PARTS", "Options", "measure"]
