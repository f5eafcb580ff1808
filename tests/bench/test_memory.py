"""Memory of this process and of a family of processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from fedsonar.bench.memory import peak_resident, watch

linux = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").is_file(), reason="the kernel's own figures are Linux's")


@linux
def test_peak_grows_with_what_is_held_and_stays():
    before = peak_resident()
    held = b"x" * int((before + 32) * 2**20)  # alone more than ever before
    after = peak_resident()
    assert after >= before + 32
    del held
    assert peak_resident() == pytest.approx(after, abs=1)


@linux
def test_a_family_counts_its_children():
    child = "held = b'x' * (60 << 20); import time; time.sleep(1)"
    parent = f"held = b'x' * (60 << 20); import subprocess, sys; subprocess.run([sys.executable, '-Sc', {child!r}])"
    process = subprocess.Popen([sys.executable, "-S", "-c", parent])
    most = watch(process.pid, lambda: process.poll() is None)
    assert 120 < most < 170
