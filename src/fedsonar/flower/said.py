"""What a server says of a run, in lines that are told from all else that Flower logs."""

from __future__ import annotations

from fedsonar.federation import Progress

SAID = ("server: ", "round ")
"""How the lines begin."""


def say(progress: Progress) -> None:
    """A line a round, and one for what takes long before it, which ``flwr run --stream`` shows."""
    if line := line_of(progress):
        print(line, flush=True)


def line_of(progress: Progress) -> str:
    """What is said of it; empty where it is nothing."""
    record = progress.record
    if record is not None:
        loss = "" if record.loss is None else f" loss {record.loss:.3f}"
        accuracy = "" if record.accuracy is None else f" accuracy {record.accuracy:.3f}"
        asr = "" if record.asr is None else f" attack success {record.asr:.3f}"
        return f"round {record.round}:{loss}{accuracy}{asr}"
    match progress.stage:
        case "load":
            return "server: has its model, and waits for clients"
        case "screen":
            return f"server: clients' rows were judged for round {progress.round}"
    return ""
