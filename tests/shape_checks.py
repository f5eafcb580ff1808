"""The checker that the import hook in conftest.py puts around the package's functions and dataclasses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray


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
