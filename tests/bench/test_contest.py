"""Contenders in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from alive import runs
from fedsonar.bench.contest import Ratio, take_turns


def test_ratio_pairs_neighbouring_turns():
    assert Ratio.of([4.0, 9.0, 10.0], [2.0, 3.0, 10.0]) == Ratio(2.0, 1.0, 3.0, 3)


def test_turns_alternate_each_contender_in_its_own_process():
    order = []
    contenders = {name: partial(partial, os.getpid) for name in "ab"}
    measured = take_turns(contenders, repeats=2, threads=1, observe=order.append)
    assert order == ["a", "b"] * 3  # the first turn of each does not count
    (one,), (other,) = (set(measured[name].results) for name in "ab")
    assert len({one, other, os.getpid()}) == 3
    for found in measured.values():
        assert len(found.timings) == len(found.results) == 2
        assert found.memory.peak >= found.memory.start > 0


@pytest.mark.filterwarnings("ignore:.*process.*:UserWarning")
def test_a_contender_that_is_killed_is_named():
    with pytest.raises(ChildProcessError, match="the process of b was killed"):
        take_turns({"a": partial(partial, int), "b": partial(partial, os._exit, 9)}, repeats=1, threads=1)


def test_a_contender_that_fails_says_why():
    with pytest.raises(ValueError, match="invalid literal"):
        take_turns({"a": partial(partial, int, "x")}, repeats=1, threads=1)


KILLED = """
import time
from functools import partial

from fedsonar.bench.contest import take_turns


def told():
    import os

    print(os.getpid(), flush=True)


if __name__ == "__main__":
    take_turns({"id": partial(partial, told), "slow": partial(partial, time.sleep, 600)}, repeats=1, threads=1)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the kernel's list of processes is Linux's")
def test_contenders_end_with_a_caller_that_is_killed(tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    with subprocess.Popen([sys.executable, tmp_path / "killed.py"], stdout=subprocess.PIPE) as caller:
        assert caller.stdout is not None
        contender = int(caller.stdout.readline())
        assert runs(contender)
        caller.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and runs(contender):
        time.sleep(0.1)
    assert not runs(contender)
