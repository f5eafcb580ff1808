"""A screen's tables on the wire, and what of others' is taken for tables."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from flwr.app import Array, ArrayRecord

from fedsonar.screen import Tables

_MOST_TABLES, _LONGEST_NAME, _MOST_AXES = 64, 100, 8
MOST_BYTES = 2**28
"""Of one client's tables."""
_KINDS = {"bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "float32", "float64"}


class TablesError(ValueError):
    """Why something is no tables."""


def write(tables: Tables) -> ArrayRecord:
    """The record of tables."""
    return ArrayRecord(
        {name: Array(np.ascontiguousarray(table).reshape(table.shape)) for name, table in tables.items()}
    )


def read(record: object) -> dict[str, np.ndarray]:
    """The tables of a record from somebody else.

    Raises:
        TablesError: If it holds too much, something else than numbers, or a number that is not finite.
    """
    if not isinstance(record, ArrayRecord):
        raise TablesError("no tables")
    if len(record) > _MOST_TABLES or sum(len(array.data) for array in record.values()) > MOST_BYTES:
        raise TablesError(f"more than {_MOST_TABLES} tables, or more than {MOST_BYTES} bytes")
    found = {}
    for name, array in record.items():
        shape = tuple(array.shape)
        if not isinstance(name, str) or len(name) > _LONGEST_NAME or not name.isprintable():
            raise TablesError(f"a table that is called {str(name)[:40]!r}")
        if array.dtype not in _KINDS or len(shape) > _MOST_AXES or any(length < 0 for length in shape):
            raise TablesError(f"table {name!r} says it is {str(array.dtype)[:20]} of shape {shape[:9]}")
        size = math.prod(shape) * np.dtype(array.dtype).itemsize
        if not size <= len(array.data) <= size + 4096:
            raise TablesError(f"table {name!r} has {len(array.data)} bytes for {array.dtype} of shape {shape}")
        table = array.numpy()
        if table.dtype != array.dtype or table.shape != shape:
            raise TablesError(f"table {name!r} is {table.dtype} of shape {table.shape}, and says something else")
        if not np.isfinite(table).all():
            raise TablesError(f"table {name!r} holds nan or inf")
        found[name] = table.copy()
    return found


def odd_ones(tables: Mapping[int, Tables]) -> dict[int, str]:
    """Node -> how its tables differ from those of most; names, types and all axes but the first must be the same.

    Where no kind is the most frequent one, that of the first node is.
    """
    forms = {node: _form(one) for node, one in tables.items()}
    if not forms:
        return {}
    [(usual, _)] = Counter(forms.values()).most_common(1)
    return {
        node: f"tables {_said(form)}, where most have {_said(usual)}" for node, form in forms.items() if form != usual
    }


_Form = tuple[tuple[str, str, tuple[int | None, ...]], ...]


def _form(tables: Tables) -> _Form:
    return tuple(
        (name, str(table.dtype), (None, *table.shape[1:]) if table.ndim else ())
        for name, table in sorted(tables.items())
    )


def _said(form: Sequence[tuple[str, str, tuple[int | None, ...]]]) -> str:
    shown = (
        f"{name} {kind} ({', '.join('any' if length is None else str(length) for length in shape)})"
        for name, kind, shape in form
    )
    return "; ".join(shown)[:200] or "none"
