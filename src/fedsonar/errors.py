"""What is the matter, where it is the user's to mend."""


class ConfigError(ValueError):
    """A configuration that cannot be read; the message is one line."""
