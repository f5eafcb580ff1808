"""Compiled kernels are kept by one process at a time, and whoever finds them gets the ones for its own types."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
from filelock import FileLock

from fedsonar.model.compiled.kernels.products import add_product, clear

COMPILE = """
import sys
import numpy as np
from fedsonar.model.compiled.kernels.products import add_product
for name in sys.argv[1:]:
    left, right = np.arange(6, dtype=name).reshape(2, 3), np.arange(51, dtype=name).reshape(3, 17)
    out = np.ones((2, 17), name)
    add_product(out, left, right, 2, 3, 17)
    assert (out == 1 + left @ right).all(), name
"""


def test_processes_that_compile_at_the_same_time_do_not_get_each_other_s_code(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def start(*types):
        return subprocess.Popen([sys.executable, "-c", COMPILE, *types], env=environment)

    assert [process.wait() for process in [start("float32"), start("float64")]] == [0, 0]
    assert start("float32", "float64").wait() == 0
    assert list(tmp_path.rglob("lock"))


def test_files_are_neither_read_nor_written_while_another_has_the_lock():
    clear(np.ones((2, 2)), 1)
    files = add_product._cache._cache_file
    done = threading.Event()

    def use():
        files.load("no such key")
        done.set()

    with FileLock(Path(files._cache_path) / "lock"):
        thread = threading.Thread(target=use, daemon=True)
        thread.start()
        assert not done.wait(0.3)
    assert done.wait(20)
