"""Compiled kernels are kept by one process at a time, and whoever finds them gets the ones for its own types."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numba
import numpy as np
import pytest
from filelock import FileLock

from fedsonar.compiling import keep, kernel
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


def test_a_kernel_that_a_function_makes_is_refused():
    def made(x):
        return x

    with pytest.raises(ValueError, match="made is made by a function; write it out"):
        kernel(made)


KERNELS = """
from fedsonar.compiling import kernel
from fedsonar.model.compiled.kernels.products import add_product


@kernel
def first(out, left, right):
    add_product(out, left, right, len(left), len(right), right.shape[1])


@kernel
def second(out, left, right):
    add_product(out, left, right, len(left), len(right), right.shape[1])
"""
USE = """
import sys
import numba, numpy as np
import two_kernels

# Numba numbers what it compiles: functions that come before shift the numbers of those that follow.
for i in range(int(sys.argv[1])):
    numba.njit(eval(f"lambda x: x + {i}"))(1)
for name in sys.argv[2:]:
    left, right = np.arange(63.0).reshape(9, 7), np.arange(420.0).reshape(7, 60)
    out = np.ones((9, 60))
    getattr(two_kernels, name)(out, left, right)
    assert (out == 1 + left @ right).all(), name
"""


def use(folder, kept, *arguments):
    """Calls kernels in a process of its own, which finds the module in `folder` and keeps kernels in `kept` there."""
    path = f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / kept), "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", USE, *arguments], env=environment, check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the module, and in ``first`` its first kernel."""
    folder = tmp_path_factory.mktemp("two_kernels")
    (folder / "two_kernels.py").write_text(KERNELS)
    use(folder, "first", "0", "first")
    return folder


@pytest.mark.parametrize("shift", ["1", "2"])
def test_kernels_compiled_in_different_processes_work_together(folder, shift):
    one, other = f"one-{shift}", f"other-{shift}"
    shutil.copytree(folder / "first", folder / one)
    use(folder, other, shift, "second")
    for kept in (folder / other).rglob("two_kernels.second*"):
        shutil.copy(kept, folder / one / kept.relative_to(folder / other))
    use(folder, one, "0", "first", "second")
    use(folder, one, "0", "second", "first")


def squared(x):
    return x * x


def test_what_a_library_compiles_anew_in_every_process_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    for hits in (0, 1):
        function = numba.njit(squared)
        keep(function)
        assert function(3) == 9
        assert sum(function.stats.cache_hits.values()) == hits
