"""A base model that the option --model names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fedsonar.errors import ConfigError


@contextmanager
def named_by_option() -> Iterator[None]:
    """Has what is wrong with a model told by the option that names it, where there is no experiment to set it in.

    Raises:
        ConfigError: If the model cannot be used.
    """
    try:
        yield
    except ValueError as error:
        raise ConfigError(str(error).replace("base.path", "--model")) from error
