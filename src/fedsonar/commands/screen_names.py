"""Screens by the names that people type."""

from __future__ import annotations


def screen_path(name: str) -> str:
    """The class path of a screen.

    Args:
        name: One of `fedsonar list`, in any case, or a class path.

    Raises:
        ConfigError: If there is no such screen; says which there are.
    """
    from fedsonar import screen as screens
    from fedsonar.experiment import ConfigError

    if "." in name:
        return name
    kinds = [kind for kind in vars(screens).values() if isinstance(kind, type) and issubclass(kind, screens.Screen)]
    known = {kind.__name__.lower(): kind.__name__ for kind in kinds if kind is not screens.Screen}
    if name.lower() not in known:
        raise ConfigError(f"no screen {name!r}; there are {', '.join(sorted(known.values()))}")
    return f"fedsonar.screen.{known[name.lower()]}"
