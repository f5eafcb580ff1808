"""What is the matter, where it is the user's to mend."""


class ConfigError(ValueError):
    """A configuration that cannot be read; the message is one line."""


class SettingError(ValueError):
    """What a setting mends, so that whoever calls the setting otherwise can say so.

    Args:
        fault: What is the matter.
        setting: The name of the setting.
        remedy: What to do with it in an experiment.
    """

    def __init__(self, fault: str, setting: str, remedy: str) -> None:
        super().__init__(fault, setting, remedy)
        self.fault, self.setting, self.remedy = fault, setting, remedy

    def __str__(self) -> str:
        return f"{self.fault}; {self.remedy}"
