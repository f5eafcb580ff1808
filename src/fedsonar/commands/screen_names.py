"""Screens by the names that people type."""

from __future__ import annotations


def screen_settings(name: str, *, model: bool) -> list[str]:
    """The settings of an experiment that name a screen; those of the command line may change them.

    Args:
        name: One of `fedsonar list`, in any case, or a class path.
        model: Whether there is a model to look through: `Sonar` listens to gradients then too.

    Raises:
        ConfigError: If there is no such screen; says which there are.
    """
    from fedsonar import screen as screens
    from fedsonar.errors import ConfigError

    if "." in name:
        return [f"screen.class_path={name}"]
    kinds = [kind for kind in vars(screens).values() if isinstance(kind, type) and issubclass(kind, screens.Screen)]
    known = {kind.__name__.lower(): kind.__name__ for kind in kinds if kind is not screens.Screen}
    if name.lower() not in known:
        raise ConfigError(f"no screen {name!r}; there are {', '.join(sorted(known.values()))}")
    kind = known[name.lower()]
    gradient = (
        ["screen.gradient.class_path=fedsonar.screen.GradientShift"] if model and kind == screens.Sonar.__name__ else []
    )
    return [f"screen.class_path=fedsonar.screen.{kind}", *gradient]
