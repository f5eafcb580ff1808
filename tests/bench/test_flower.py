"""The federation beside Flower's: what both sides are given, and that ours does with it what the peer's client does."""

import json
import sys
from itertools import chain

import pytest
import torch
from safetensors.torch import load_file

from fedsonar.bench import flower, fused_federation
from fedsonar.bench.flower import FlowerContest
from fedsonar.bench.options import Options
from fedsonar.bench.peft_clients import PeftClients
from fedsonar.bench.scenario import LORAS, Scenario
from fedsonar.bench.suite import measure
from fedsonar.data import TokenRow
from fedsonar.model import load_adapter

SCENARIO = Scenario(model="tiny", clients=2, rows_each=6, seed=3)
OPTIONS = Options(models=("tiny",), rounds=2, repeats=1, clients=(2,), rows=("webqa",), dtypes=("float32",))


def test_our_side_trains_the_batches_that_the_peer_is_given(tmp_path):
    flower.write(tmp_path, SCENARIO, OPTIONS)
    fused_federation.main(tmp_path, "float32")
    layout = SCENARIO.layout
    adapter = load_adapter(tmp_path / "start", layout)
    assert torch.equal(adapter, SCENARIO.start)
    peer = PeftClients(SCENARIO.load(), LORAS["qv"], layout, SCENARIO.training)
    clients = [json.loads((tmp_path / f"client-{client}.json").read_text()) for client in range(2)]
    for round in range(2):
        batches = [
            [[TokenRow("", *map(tuple, data["rows"][i])) for i in batch] for batch in data["rounds"][round]]
            for data in clients
        ]
        assert all(sorted(chain(*data["rounds"][round])) == list(range(6)) for data in clients)
        adapter = adapter + peer.train_round(adapter, batches).mean(dim=0)
    ours = load_adapter(tmp_path / "fused-float32", layout)
    moved = (adapter - SCENARIO.start).norm()
    assert (ours - adapter).norm() < 1e-3 * moved


def test_without_flower_its_part_is_left_out_and_the_remedy_named(monkeypatch):
    monkeypatch.setattr(flower.importlib.util, "find_spec", lambda name: None)
    with pytest.warns(UserWarning, match=r"pip install 'fedsonar\[flower\]'"):
        assert list(measure(["flower"], OPTIONS)) == []


def test_a_side_that_fails_ends_with_its_own_words():
    with pytest.raises(ChildProcessError, match="no such thing"):
        flower.run([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_records_of_a_contest(monkeypatch):
    walls = {"Flower float32": iter([30.0, 40.0]), "FedSonar float32": iter([3.0, 5.0])}
    monkeypatch.setattr(flower, "write", lambda *_: None)
    monkeypatch.setattr(flower, "_command", lambda side, folder: side)
    monkeypatch.setattr(flower, "run", lambda side: (next(walls[side]), 900.0 if "Flower" in side else 300.0))
    adapters = {"Flower float32": torch.tensor([3.0, 4.0]), "FedSonar float32": torch.tensor([3.0, 4.5])}
    monkeypatch.setattr(flower, "_result", lambda side, folder: {"a": adapters[side]})
    told = []
    options = Options(models=("tiny",), repeats=2, dtypes=("float32",))
    peer, ours = FlowerContest(SCENARIO, options).measure(told.append)
    assert (peer["side"], peer["seconds"], peer["peak_mb"]) == ("Flower float32", 35.0, 900.0)
    assert (ours["times_peer"], ours["low"], ours["high"], ours["n"]) == (9.0, 8.0, 10.0, 2)
    assert ours["memory_of_peer"] == pytest.approx(1 / 3)
    assert ours["adapter_difference"] == pytest.approx(0.1)
    assert len(told) == 4


@pytest.mark.skipif(not flower.installed(), reason="Flower is not installed")
@pytest.mark.usefixtures("ray_alone")
@pytest.mark.waits
def test_flower_trains_the_same(tmp_path):
    flower.write(tmp_path, SCENARIO, OPTIONS)
    flower.run(flower._command("Flower float32", tmp_path))
    fused_federation.main(tmp_path, "float32")
    theirs = load_file(tmp_path / "flower.safetensors")
    ours = load_file(tmp_path / "fused-float32" / "adapter_model.safetensors")
    assert flower._difference(ours, theirs) < 1e-4
