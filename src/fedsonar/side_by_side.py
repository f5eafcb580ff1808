"""Several runs side by side, a process and a thread each."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.managers import SyncManager
from pathlib import Path
from queue import Queue
from threading import Thread

from fedsonar.experiment import Experiment
from fedsonar.federation import Progress, run


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_all(
    experiments: Mapping[str, Experiment],
    out: Path,
    observe: Callable[[str, Progress], None],
    workers: int | None = None,
) -> list[Path]:
    """Runs experiments side by side and returns their folders; finished ones stay, stopped ones go on.

    Args:
        experiments: Folder name -> experiment.
        out: Folder that holds the folders.
        observe: Told after every stage of every run, by folder name.
        workers: Processes; by default one a core.
    """
    workers = min(len(experiments), workers or cores())
    context = multiprocessing.get_context("spawn")
    manager = SyncManager(ctx=context)
    manager.start(_end_with_caller)
    with manager, ProcessPoolExecutor(workers, context, _end_with_caller) as pool:
        messages: Queue[tuple[str, Progress] | None] = manager.Queue()

        def relay() -> None:
            while (message := messages.get()) is not None:
                observe(*message)

        listener = Thread(target=relay, daemon=True)
        listener.start()
        try:
            futures = [pool.submit(_run_one, name, e, out / name, messages) for name, e in experiments.items()]
            for future in futures:
                future.result()
        except BaseException:
            for process in list((pool._processes or {}).values()):
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            messages.put(None)
            listener.join(timeout=5)
    return [out / name for name in experiments]


def _end_with_caller() -> None:
    """Ends this process with the one that started it, should that be killed without a word to say so."""

    def wait() -> None:
        caller = multiprocessing.parent_process()
        assert caller is not None
        caller.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def _run_one(name: str, experiment: Experiment, folder: Path, messages: Queue[tuple[str, Progress] | None]) -> None:
    import torch

    torch.set_num_threads(1)
    if (folder / "summary.json").is_file():
        messages.put((name, Progress("round", experiment.rounds)))
        return
    run(
        experiment, out=folder, resume=(folder / "experiment.toml").is_file(), observe=lambda p: messages.put((name, p))
    )
