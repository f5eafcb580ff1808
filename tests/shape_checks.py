"""Checks around those functions and dataclasses of the package whose annotations have arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import jaxtyping
from beartype import beartype
from jaxtyping import AbstractArray

_decorate = jaxtyping.jaxtyped


def install() -> None:
    """Puts the checks around what is imported from the package from now on.

    jaxtyping would put them around every function, also around those without arrays, for which they find nothing, and
    around those within functions, anew at each call. All tests would take half as long again.
    """
    jaxtyping.jaxtyped = _where_arrays_are  # what its import hook calls
    jaxtyping.install_import_hook("fedsonar", "shape_checks.check")


def _where_arrays_are(function: Any = None, *, typechecker: Callable[..., Any]) -> Any:
    if function is None:
        return partial(_where_arrays_are, typechecker=typechecker)
    plain = function.fget if isinstance(function, property) else getattr(function, "__func__", function)
    if inspect.isclass(plain):
        plain = plain.__init__
    if "<locals>" in plain.__qualname__:
        return function
    hints = inspect.get_annotations(plain).values()
    if any(_may_hold_array(hint, getattr(plain, "__globals__", {})) for hint in hints):
        return _decorate(function, typechecker=typechecker)
    return function


def _may_hold_array(hint: object, names: dict[str, Any]) -> bool:
    try:
        return _holds_array(eval(hint, names) if isinstance(hint, str) else hint)
    except NameError:  # of what is imported for types alone, or comes further down
        return True


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with its array annotations checked by beartype, and the others left to mypy.

    Checking all of them would turn an int or a NumPy scalar in place of a float into an error, hide the package's own
    ValueError for a user's wrong argument, and draw from Python's global random state for every sequence, which
    hypothesis forbids.

    Args:
        function: A copy of the signature, made by jaxtyping with its annotations resolved; changed in place.
    """
    annotations = function.__annotations__
    for name in [name for name, hint in annotations.items() if not _holds_array(hint)]:
        annotations[name] = Any
    return beartype(function)


def _holds_array(hint: object) -> bool:
    return (isinstance(hint, type) and issubclass(hint, AbstractArray)) or any(map(_holds_array, get_args(hint)))
