"""What is the matter, where it is the user's to mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class ConfigError(ValueError):
    """A command line or an experiment that has to change; the message is one line, and the exit status 2."""


@contextmanager
def of_configuration() -> Iterator[None]:
    """Has what is refused inside count as the configuration's fault."""
    try:
        yield
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error


class SettingError(ValueError):
    """What a setting mends, so that whoever calls the setting otherwise can say so.

    Args:
        fault: What is the matter.
        setting: The name of the setting.
        remedy: What to do, in an experiment; ``{}`` in it stands for the name of the setting.
    """

    def __init__(self, fault: str, setting: str, remedy: str) -> None:
        super().__init__(fault, setting, remedy)
        self.fault, self.setting, self.remedy = fault, setting, remedy

    @property
    def of_rows(self) -> bool:
        """Whether rows are at fault that a setting can leave out or fill, rather than the setting itself."""
        return self.setting in ("drop_unanswered", "instruction")

    def called(self, name: str) -> str:
        """What is said where the setting has another name."""
        return f"{self.fault}; {self.remedy.format(name)}"

    def __str__(self) -> str:
        return self.called(self.setting)
