"""A base model that the option --model names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fedsonar.errors import ConfigError, SettingError, of_configuration


@contextmanager
def named_by_option() -> Iterator[None]:
    """Has what is wrong with a model told by the option that names it, where there is no experiment to set it in.

    Raises:
        ConfigError: If the model cannot be used.
    """
    with of_configuration():
        try:
            yield
        except SettingError as error:
            raise ConfigError(error.called("--model")) from error
