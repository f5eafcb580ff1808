"""What every check asks of a component, whatever its family."""

from __future__ import annotations


def check_component(component: object, *, references: bool = True) -> None:
    """Returns when a component is a frozen dataclass, documented with its references.

    Raises:
        AssertionError: If it is not; says what lacks.
    """
    kind = type(component)
    # A subclass inherits what `dataclasses.is_dataclass` looks for, so ask the class itself.
    parameters = kind.__dict__.get("__dataclass_params__")
    require(
        parameters is not None and parameters.frozen,
        f"{kind.__name__} must be decorated with @dataclass(frozen=True)",
    )
    require(bool(kind.__doc__), f"{kind.__name__} needs a docstring")
    require(
        not references or "References" in (kind.__doc__ or ""),
        f"{kind.__name__} needs a docstring with a References section (the paper, or 'none: ours')",
    )


def require(condition: bool, message: str) -> None:
    """Raises AssertionError, with or without ``python -O``."""
    if not condition:
        raise AssertionError(message)
