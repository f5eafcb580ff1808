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
    child = "import sys; held = b'x' * (60 << 20); sys.stdin.read()"
    parent = f"held = b'x' * (60 << 20); import subprocess, sys; subprocess.run([sys.executable, '-Sc', {child!r}])"
    process = subprocess.Popen([sys.executable, "-S", "-c", parent], stdin=subprocess.PIPE)
    looks = iter(range(1000))

    def running():
        if next(looks) == 20:  # the child holds its memory until it has been looked at often enough, however slowly
            process.communicate()
        return process.poll() is None

    assert 120 < watch(process.pid, running) < 170
