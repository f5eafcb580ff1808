"""Tables as one vector of whole numbers modulo 2^32 or 2^64, in which masks vanish and sums are exact."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt

from fedsonar.screen import Tables

_MOST_NUMBERS = 2**27
"""Of one client: 512 MB at 32 bits."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What all clients of a sum agree on: names, shapes and kinds of their tables, and how large their values may be.

    Whole numbers from ``-bound`` to ``bound`` are summed exactly, and those of large tables up to ``bound^2``, as two
    numbers each, one of which counts in bounds. Other numbers are clipped to ``[-clip, clip]`` and rounded to multiples
    of ``clip / bound``, so the sum is off by at most ``clients * clip / (2 * bound)`` besides what was clipped. Numbers
    have 32 bits where the sum of all clients fits into them, and 64 otherwise.

    Args:
        shapes: Name -> shape, in the order of the vector.
        whole: Names of the tables of whole numbers.
        large: Names of those whose values may be large.
        clients: How many clients may add up.
        bound: Largest absolute value of a whole number.
        clip: Largest absolute value of any other number.

    Raises:
        ValueError: If it cannot be summed; says what to change.
    """

    shapes: Mapping[str, tuple[int, ...]]
    whole: frozenset[str]
    large: frozenset[str] = frozenset()
    clients: int
    bound: int = 2**24
    clip: float = 1.0

    def __post_init__(self) -> None:
        if self.clients < 1 or self.bound < 1:
            raise ValueError(f"clients and bound must be at least 1, got {self.clients} and {self.bound}")
        if 2 * self.clients * self.bound >= 2**63:
            raise ValueError(f"{self.clients} clients with values up to {self.bound} do not add up in 64 bits")
        if not (math.isfinite(self.clip) and self.clip > 0):
            raise ValueError(f"clip must be above 0, got {self.clip}")
        if any(length < 0 for shape in self.shapes.values() for length in shape) or not self.shapes:
            raise ValueError(f"shapes must be those of one table or more, got {dict(self.shapes)}")
        if not self.whole <= set(self.shapes):
            raise ValueError(f"there is no shape for {sorted(self.whole - set(self.shapes))}")
        if not self.large <= self.whole:
            raise ValueError(f"only whole numbers may be large, and {sorted(self.large - self.whole)} are none")
        if self.count > _MOST_NUMBERS:
            raise ValueError(f"{self.count} numbers are more than the {_MOST_NUMBERS} that one sum may have")

    @classmethod
    def of(cls, tables: Tables, clients: int, *, bound: int = 2**24, clip: float = 1.0) -> Layout:
        """The layout of tables like these; those of 64 bits a whole number are large.

        Args:
            tables: Of one client; of their values nothing is kept.
            clients: How many clients may add up.
            bound: See the class.
            clip: See the class.

        Raises:
            ValueError: If a table holds something else than numbers.
        """
        for name, table in tables.items():
            if table.dtype.kind not in "iuf":
                raise ValueError(f"table {name!r} holds {table.dtype} instead of numbers; only numbers add up")
        return cls(
            shapes={name: tuple(table.shape) for name, table in tables.items()},
            whole=frozenset(name for name, table in tables.items() if table.dtype.kind in "iu"),
            large=frozenset(n for n, table in tables.items() if table.dtype.kind in "iu" and table.dtype.itemsize > 4),
            clients=clients, bound=bound, clip=clip,
        )  # fmt: skip

    @property
    def count(self) -> int:
        """How many numbers the vector has."""
        return sum(math.prod(shape) * (1 + (name in self.large)) for name, shape in self.shapes.items())

    @property
    def number(self) -> np.dtype[Any]:
        """The vector's numbers, which wrap around."""
        return np.dtype("<u4" if 2 * self.clients * self.bound < 2**32 else "<u8")

    def encode(self, tables: Tables) -> UInt[np.ndarray, "count"]:
        """A client's tables as a vector.

        Raises:
            ValueError: If they are not as agreed. The message tells no value.
        """
        if set(tables) != set(self.shapes):
            raise ValueError(f"tables {sorted(tables)} instead of the agreed {sorted(self.shapes)}")
        parts = []
        for name, shape in self.shapes.items():
            table = np.asarray(tables[name])
            kinds = "iu" if name in self.whole else "f"
            if table.shape != shape or table.dtype.kind not in kinds:
                wanted = "whole numbers" if name in self.whole else "floating-point numbers"
                raise ValueError(f"table {name!r} is {table.dtype} of shape {table.shape}, not {wanted} of {shape}")
            if name in self.whole:
                most = min(self.bound**2, (2**63 - 1) // self.clients) if name in self.large else self.bound
                if table.size and (int(table.max()) > most or int(table.min()) < -most):
                    raise ValueError(f"table {name!r} holds a value beyond the agreed bound {most}; raise bound")
                numbers = table.astype(np.int64)
                if name in self.large:
                    numbers = np.stack(np.divmod(numbers, self.bound))
            else:
                if not np.isfinite(table).all():
                    raise ValueError(f"table {name!r} holds nan or inf")
                clipped = np.clip(table.astype(np.float64), -self.clip, self.clip)
                numbers = np.rint(clipped * (self.bound / self.clip)).astype(np.int64)
            parts.append(numbers.astype(self.number).reshape(-1))
        return np.concatenate(parts)

    def decode(self, total: UInt[np.ndarray, "count"]) -> dict[str, Int[np.ndarray, "..."] | Float[np.ndarray, "..."]]:
        """The tables of a sum: whole numbers as int64, others as float64.

        Raises:
            ValueError: If a sum is beyond what clients within the bound can make.
        """
        signed = total.view(self.number.str.replace("u", "i")).astype(np.int64)
        most = self.clients * self.bound
        found, start = {}, 0
        for name, shape in self.shapes.items():
            size = math.prod(shape) * (1 + (name in self.large))
            part = signed[start : start + size]
            start += size
            if part.size and (int(part.max()) > most or int(part.min()) < -most):
                raise ValueError(
                    f"the sum of {name!r} is beyond {self.clients} times the bound {self.bound}: a client did not keep "
                    "to it"
                )
            if name in self.large:
                upper, lower = part.reshape(2, *shape)
                found[name] = upper * self.bound + lower
            else:
                part = part.reshape(shape)
                found[name] = part.copy() if name in self.whole else part * (self.clip / self.bound)
        return found

    def text(self) -> str:
        """What `read` reads."""
        return json.dumps(asdict(self) | {"whole": sorted(self.whole), "large": sorted(self.large)})

    @classmethod
    def read(cls, text: str) -> Layout:
        """The layout of a text.

        Raises:
            ValueError: If there is none in it.
        """
        try:
            found = json.loads(text)
            shapes = {str(name): tuple(map(int, shape)) for name, shape in found.pop("shapes").items()}
            whole, large = (frozenset(found.pop(name)) for name in ("whole", "large"))
            return cls(shapes=shapes, whole=whole, large=large, **found)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no layout of tables: {text[:100]!r}") from error
