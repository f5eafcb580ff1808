"""The screens whose verdicts are measured, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

from fedsonar import screen as screens
from fedsonar.screen import GradientShift, Oracle, Screen, Sonar

SCREENS: dict[str, Callable[[], Screen]] = {
    name: kind
    for name, kind in vars(screens).items()
    if isinstance(kind, type) and issubclass(kind, Screen) and not inspect.isabstract(kind) and kind is not Oracle
} | {"Sonar, gradients too": partial(Sonar, gradient=GradientShift())}
"""Every screen but the one that is told the truth; with its gradients, too, the one that has them on demand."""
