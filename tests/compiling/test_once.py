"""Processes that need a kernel at the same time compile it once."""

import multiprocessing
import os
import subprocess
import sys

import numpy as np
import pytest

from fedsonar.model.compiled.kernels.products import clear

RACE = """
import sys
import numpy as np
from fedsonar.model.compiled.kernels.products import clear
print("ready", flush=True)
sys.stdin.readline()
matrix = np.ones((2, 2), "float32")
clear(matrix, 1)
assert matrix.tolist() == [[0, 0], [1, 1]]
print(clear.stats.cache_misses.total(), clear.stats.cache_hits.total())
"""


def test_one_of_two_processes_compiles_and_the_other_loads(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RACE], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    assert sorted(process.communicate()[0] for process in processes) == ["0 1\n", "1 0\n"]


def clear_integers():
    clear(np.ones((2, 2), np.int16), 1)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of a process with threads, in newer Pythons
def test_a_fork_of_a_process_that_compiled_compiles_too():
    clear(np.ones((2, 2), np.int32), 1)
    fork = multiprocessing.get_context("fork").Process(target=clear_integers)
    fork.start()
    fork.join()
    assert fork.exitcode == 0
