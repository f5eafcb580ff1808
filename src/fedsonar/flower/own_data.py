"""What a client of a deployment says of itself where its SuperNode is started: its number, its rows, its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedsonar.data import Files
from fedsonar.experiment import Experiment

EXAMPLE = "--node-config \"client=0 data='/path/rows.jsonl'\""
_FILES = ("schema", "answer", "instruction", "limit", "drop_unanswered")
"""Parameters of `Files` that a node can give too."""


@dataclass(frozen=True)
class OwnData:
    """A client's own rows, and on what it trains.

    Args:
        client: The client's number.
        source: Where its rows are.
        model: Where the base model is on this machine; empty for where the experiment says.
        device: As `Base.device`; empty for what the experiment says.
        threads: Threads to train with.
        clear: Whether to give a screen summaries that do not add up, which the server sees as they are.
    """

    client: int
    source: Files
    model: str = ""
    device: str = ""
    threads: int = 1
    clear: bool = False

    @classmethod
    def of(cls, node_config: Mapping[str, Any]) -> OwnData:
        """What a SuperNode's ``--node-config`` says.

        Raises:
            ValueError: If it lacks the number or the rows, or has something else; says how to give them.
        """
        known = ("client", "data", "model", "device", "threads", "idle", "clear", *_FILES)
        if unknown := sorted(set(node_config) - set(known)):
            raise ValueError(f"node-config has {unknown[0]!r}, which is none of {', '.join(known)}")
        client, data = node_config.get("client"), node_config.get("data")
        if type(client) is not int or client < 0 or not isinstance(data, str) or not data:
            raise ValueError(f"this node does not say which client it is and where its rows are; use {EXAMPLE}")
        if type(node_config.get("clear", False)) is not bool:
            raise ValueError(f"clear is {node_config['clear']!r}; it is true or false")
        options = {name: node_config[name] for name in _FILES if name in node_config}
        return cls(
            client, Files(train=data, **options), str(node_config.get("model", "")),
            str(node_config.get("device", "")), int(node_config.get("threads", 1)),
            bool(node_config.get("clear", False)),
        )  # fmt: skip

    def here(self, experiment: Experiment) -> Experiment:
        """The experiment with this machine's model and device."""
        base = experiment.base
        return replace(experiment, base=replace(base, path=self.model or base.path, device=self.device or base.device))

    def stamp(self) -> tuple[int, int]:
        """Changes when the rows' file does."""
        assert self.source.train is not None
        try:
            found = Path(self.source.train).expanduser().stat()
        except OSError:
            return 0, 0  # reading it will say what is wrong
        return found.st_mtime_ns, found.st_size
