"""What every test runs under: one thread, no network, shapes checked, and golden values that a flag rewrites."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded, hence before it
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may pass only where there is a network
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import hypothesis
import jaxtyping
import pytest
import torch
from filelock import FileLock

import shape_checks


class _Kernels(PathFinder):
    """Imports kernels as they are: what compiles them reads their code, and takes no checks around it."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):  # type: ignore[no-untyped-def]
        return super().find_spec(name, path, target) if ".kernels" in name and name.startswith("fedsonar.") else None


# Before the first import of the package: its functions and dataclasses check their arrays whenever they are called.
shape_checks.install()
sys.meta_path.insert(0, _Kernels)
torch.set_num_threads(1)
hypothesis.settings.register_profile("fedsonar", deadline=None)  # a slow machine is not a wrong result
hypothesis.settings.load_profile("fedsonar")

TESTS = Path(__file__).resolve().parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="store the golden values that are measured now")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The first of the processes that share the tests gets all that wait, so that the others compute meanwhile.
    items.sort(key=lambda item: item.get_closest_marker("waits") is None)
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="there is no GPU here"))


@pytest.fixture(scope="session")
def shared() -> Path | None:
    """The folder `shared` beside the checkout, with larger data and models, or None where there is none."""
    folder = TESTS.parent.parent / "shared"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="module")
def ray_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps modules that start Ray apart: each start looks for free ports, and has workers for all cores."""
    base = tmp_path_factory.getbasetemp()
    with FileLock((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "ray.lock"):
        yield


@pytest.fixture
def shapes_unchecked() -> Iterator[None]:
    """Turns the shape checks off, for a test that gives a wrong array to the package's own check of its input."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[..., None]:
    """``golden(name, values, rel=..., abs=...)`` compares with ``tests/golden/NAME.json``, or stores `values` there.

    `values` maps each quantity (loss, norm, ...) to its series, say one number a round. It is stored instead of
    compared under ``--update-golden``; a name that was never stored fails.
    """

    def check(name: str, values: Mapping[str, Sequence[float]], *, rel: float, abs: float = 0.0) -> None:
        path = TESTS / "golden" / f"{name}.json"
        if request.config.getoption("--update-golden"):
            path.write_text(json.dumps({key: list(series) for key, series in values.items()}, indent=2) + "\n")
        assert path.is_file(), f"no golden values for {name} yet: make golden stores them"
        stored = json.loads(path.read_text())
        assert stored.keys() == values.keys()
        for quantity, series in values.items():
            assert list(series) == pytest.approx(stored[quantity], rel=rel, abs=abs), quantity

    return check
