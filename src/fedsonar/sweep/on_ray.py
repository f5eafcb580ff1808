"""Runs side by side on a Ray cluster."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from platform import node

from fedsonar.cluster import connected
from fedsonar.experiment import Experiment
from fedsonar.federation import Progress
from fedsonar.side_by_side import KILLED, Messages, Outcome, failed, failed_before, relayed, run_one


def run_all_on_ray(
    experiments: Mapping[str, Experiment],
    out: Path,
    observe: Callable[[str, Progress], None],
    address: str,
    *,
    retry: bool = True,
) -> dict[str, Outcome]:
    """As `side_by_side.run_all`, with a task of one core for each run on a Ray cluster that is there already.

    Ray keeps a worker's process for the next task, so base model and data are loaded once in each. Runs write into
    `out` themselves, so that one whose worker is lost goes on elsewhere from its last complete round: all nodes have to
    see this folder, and what the experiments read, under the same paths. It is tried once more; after that it failed.

    Args:
        experiments: Folder name -> experiment.
        out: Folder that holds the folders, on storage that all nodes share.
        observe: Told after every stage of every run, by folder name; from another thread.
        address: The cluster's, ``10.0.0.1:6379`` or ``ray://10.0.0.1:10001`` say; or ``auto`` for this machine's.
        retry: Try again what failed before; otherwise it keeps its error.

    Raises:
        ConfigError: If Ray is not installed, or there is no cluster at the address.
    """
    out = out.resolve()
    outcomes = {} if retry else failed_before(experiments, out)
    with connected(address, "--ray") as ray, _token(out) as token:
        from ray.util.queue import Queue

        with relayed(Queue(), observe) as messages:
            task = ray.remote(num_cpus=1, max_retries=1)(_task)
            names = {
                task.remote(name, experiment, out / name, messages, token): name
                for name, experiment in experiments.items() if name not in outcomes
            }  # fmt: skip
            left = list(names)
            while left:
                [done], left = ray.wait(left)
                name = names[done]
                try:
                    outcomes[name] = ray.get(done)
                except ray.exceptions.RayError as error:
                    lost = isinstance(error, ray.exceptions.WorkerCrashedError | ray.exceptions.OutOfMemoryError)
                    outcomes[name] = failed(out / name, KILLED if lost else " ".join(str(error).split()))
    return {name: outcomes[name] for name in experiments}


def _task(name: str, experiment: Experiment, folder: Path, messages: Messages, token: Path) -> Outcome:
    """In a worker of the cluster: one run."""
    if not token.exists():
        return Outcome(folder, f"{folder.parent} is not the same folder on {node()}: all nodes have to share it")
    return run_one(name, experiment, folder, messages)


@contextmanager
def _token(out: Path) -> Iterator[Path]:
    """A file in the folder that workers look for, to know that they see the same folder."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f".shared-{secrets.token_hex(8)}"
    path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
