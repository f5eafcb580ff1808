"""Aggregation rules side by side: which are measured, on what, what is left out, and what the records say."""

import json
from functools import partial
from unittest.mock import MagicMock

import numpy as np
import pytest
from flwr.serverapp.strategy import strategy_utils
from rich.console import Console

from fedsonar.aggregate import Krum
from fedsonar.bench import aggregation, aggregation_peers
from fedsonar.bench.aggregation import RuleContest, write_updates
from fedsonar.bench.aggregation_peers import LOOPS, PRODUCTS, Peer, peers
from fedsonar.bench.aggregation_rules import rules
from fedsonar.bench.contest import Measured, Memory, Timing
from fedsonar.bench.options import Options
from fedsonar.bench.show import tables
from fedsonar.bench.suite import measure
from fedsonar.cli import main

CLIENTS, DIM = 12, 2000


@pytest.fixture(autouse=True)
def flower_as_it_was(monkeypatch):
    """Takes back what Flower's turns change in its modules, in a process that does other things after these tests."""
    for name in ("Array", "ArrayRecord"):
        monkeypatch.setattr(strategy_utils, name, getattr(strategy_utils, name))


@pytest.fixture
def updates(tmp_path):
    write_updates(tmp_path, CLIENTS, DIM, seed=1, spread=0.5)
    return np.array(np.load(tmp_path / "updates.npy"))


def measured(walls, memory=None):
    return Measured([Timing(wall, wall) for wall in walls], [None] * len(walls), memory or Memory(100.0, 104.0))


def contest(*peers, clients=100, dim=10_000, available=1e6, name="Krum"):
    return RuleContest(name, Krum(), peers, clients, dim, {"cpu": available, "cuda": 100.0})


def peer(side, **options):
    return Peer(side, prepare=MagicMock(), **({"copies": 0} | options))


def test_every_exported_rule_is_measured_and_each_runs(updates):
    import fedsonar.aggregate

    found = rules(CLIENTS)
    kinds = [getattr(fedsonar.aggregate, name) for name in fedsonar.aggregate.__all__]
    exported = {k.__name__ for k in kinds if isinstance(k, type) and issubclass(k, fedsonar.aggregate.Aggregator)}
    assert exported - {"Aggregator", "Chain", "FlowerStrategy"} <= set(found)
    assert {"Bulyan", "FLAME", "NNM + FedAvg", "Bucketing + FedAvg"} <= set(found)
    for name, rule in found.items():
        turn = aggregation._Ours(rule, 0, updates)
        result = turn()
        assert result.shape == (DIM,), name
        assert np.isfinite(result).all(), name
        turn.ready()
        np.testing.assert_array_equal(turn(), result)  # each turn does the same work


def test_fldetector_is_measured_once_it_predicts(monkeypatch, updates):
    rule, seen = rules(CLIENTS)["FLDetector"], []
    kind = type(rule)
    monkeypatch.setattr(kind, "_note_errors", lambda self, updates, steps, context: seen.append(len(steps)))
    turn = aggregation._Ours(rule, 0, updates)
    assert seen == []
    turn()
    turn()
    assert seen == [rule.window + 1] * 2


def test_updates_have_norms_around_one_and_one_direction(updates):
    assert updates.dtype == np.float32
    norms = np.linalg.norm(updates, axis=1)
    assert 0.5 < np.median(norms) < 2
    assert norms.max() > 1.2 * norms.min()
    cosines = (updates / norms[:, None]) @ (updates / norms[:, None]).T
    assert np.triu(cosines, 1)[np.triu_indices(CLIENTS, 1)].min() > 0.1


@pytest.mark.parametrize(("spread", "low", "high"), [(0.0, 1.0, 1.1), (1.0, 3.0, 1000.0)])
def test_the_spread_says_how_much_clients_differ(tmp_path, spread, low, high):
    write_updates(tmp_path, 20, 5000, seed=2, spread=spread)
    rows = np.load(tmp_path / "updates.npy")
    noise = np.linalg.norm(rows - rows.mean(axis=0), axis=1)
    assert low <= noise.max() / noise.min() <= high


def test_sides_are_left_out_by_their_work_and_their_memory():
    found = contest(
        peer("loops", limit=LOOPS), peer("products", limit=PRODUCTS), peer("large", copies=9),
        clients=1000, dim=200_000, available=2000.0,
    )  # fmt: skip
    # 763 MB of updates: 1,600 MB may be taken.
    assert found.left_out == {"loops": "n n d = 2e+11, over 1e+11", "large": "needs 7,629 MB, over 0.8 of 2,000"}
    assert list(found.sides(MagicMock(), 0)) == ["products", "FedSonar"]
    assert contest(peer("GPU", copies=26, device="cuda")).left_out == {"GPU": "needs 103 MB, over 0.8 of 100"}
    assert contest(available=4.0).left_out == {"FedSonar": "needs 4 MB, over 0.8 of 4"}
    assert contest(available=6.0, name="NNM + FedAvg").left_out == {"FedSonar": "needs 8 MB, over 0.8 of 6"}


def test_records_against_the_fastest_peer(tmp_path):
    theirs, ours = np.array([2.0, -4.0]), np.array([2.0, -5.0])
    for side, result in {"A": theirs, "B": theirs, "FedSonar": ours}.items():
        np.save(tmp_path / aggregation._file(side), result)
    found = contest(peer("A"), peer("B", agrees=False), peer("C", limit=1.0))
    walls = {"A": [8.0, 9.0], "B": [4.0, 6.0], "FedSonar": [2.0, 2.0]}
    a, b, c, fast = found.records({side: measured(wall) for side, wall in walls.items()}, tmp_path)
    assert a["difference"] == pytest.approx(1 / 5)
    assert "difference" not in b
    assert c["left_out"] == "n n d = 1e+08, over 1e+00"
    assert (fast["fastest_peer"], fast["times_peer"], fast["low"], fast["high"], fast["n"]) == ("B", 2.5, 2.0, 3.0, 2)
    assert fast["extra_memory"] == pytest.approx(4 / (100 * 10_000 * 4 / 2**20))
    assert (fast["part"], fast["rule"], fast["clients"], fast["dim"]) == ("aggregate", "Krum", 100, 10_000)
    [table] = tables([a, b, c, fast])
    shown = Console(width=140, record=True, quiet=False)
    with shown.capture() as captured:
        shown.print(table)
    assert "2.50 [2.00, 3.00]" in captured.get()
    assert "100 clients, 10,000 coordinates" in captured.get()


def test_no_peer_on_a_gpu_is_the_one_that_we_are_held_against(tmp_path):
    np.save(tmp_path / aggregation._file("FedSonar"), np.ones(2))
    found = contest(peer("ByzFL GPU", agrees=False, device="cuda"), peer("ByzFL torch", agrees=False))
    walls = {"ByzFL GPU": [1.0], "ByzFL torch": [6.0], "FedSonar": [2.0]}
    gpu, _, ours = found.records({side: measured(wall) for side, wall in walls.items()}, tmp_path)
    assert gpu["seconds"] == 1.0
    assert (ours["fastest_peer"], ours["times_peer"], ours["times_byzfl"]) == ("ByzFL torch", 3.0, 3.0)


def test_a_rule_that_refuses_is_said_so_and_the_others_go_on(monkeypatch):
    monkeypatch.setattr(aggregation_peers, "missing", lambda: ["ByzFL", "Flower"])
    options = Options(clients=(4,), dims=(10,), rules=("Krum", "TrimmedMean"), repeats=1)
    with pytest.warns(UserWarning, match="not installed, so its rules are left out: pip install") as said:
        krum, trimmed = measure(["aggregate"], options)
    assert len(said) == 2
    assert krum["seconds"] > 0
    assert "times_peer" not in krum
    assert trimmed["left_out"].startswith("TrimmedMean needs floor(beta n) >= 1")


def test_command(tmp_path, capsys):
    out = tmp_path / "speed.json"
    arguments = ["--clients", "5", "--dims", "1000", "3000", "--rules", "Median", "--repeats", "2", "--no-peers"]
    assert main(["bench", "aggregate", *arguments, "--json", "--out", str(out)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads(out.read_text())
    assert [(r["rule"], r["side"], r["dim"]) for r in result["records"]] == [
        ("Median", "FedSonar", 1000),
        ("Median", "FedSonar", 3000),
    ]
    for record in result["records"]:
        assert 0 < record["start_mb"] <= record["peak_mb"]
        assert record["seconds"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": ("Krumm",)}, "'Krumm' is unknown; choose among AlignIns"),
        ({"dims": (100, 0)}, "dims must be at least 1, got 0"),
        ({"spread": -0.1}, "spread must be from 0 to 5, got -0.1"),
        ({"spread": float("nan")}, "spread must be from 0 to 5, got nan"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        Options(**options)


def test_turns_are_told_and_the_file_is_shared(monkeypatch):
    monkeypatch.setattr(aggregation_peers, "missing", lambda: ["ByzFL", "Flower"])
    [found] = aggregation.aggregate(Options(clients=(5,), dims=(100,), rules=("FedAvg", "Median"), repeats=2))
    told = []
    assert len(list(found.measure(told.append))) == 2
    assert len(told) == found.turns == 6
    assert told[0] == "5 x 100, FedAvg, FedSonar"


@pytest.mark.parametrize("library", ["ByzFL", "Flower"])
@pytest.mark.filterwarnings("ignore")  # of the libraries
def test_peers_that_agree_give_the_same(library, updates):
    if library in aggregation_peers.missing():
        pytest.skip(f"{library} is not installed")
    compared = []
    for name, rule in rules(CLIENTS).items():
        for found in peers(name, CLIENTS):
            if found.side.startswith(library):
                theirs = found.prepare(updates.copy())()
                assert theirs.shape == (DIM,)
                if found.agrees:
                    ours = aggregation._Ours(rule, 0, updates)()
                    assert aggregation._difference(theirs, ours) < 1e-5, (name, found.side)
                    compared.append(name)
    assert {"FedAvg", "Median", "TrimmedMean"} <= set(compared)


def test_our_side_leaves_its_result_once(tmp_path, updates):
    turn = aggregation._prepare(lambda updates: partial(updates.mean, axis=0), tmp_path, "a side")
    assert turn() is None
    first = (tmp_path / "result-a-side.npy").stat().st_mtime_ns
    turn()
    assert (tmp_path / "result-a-side.npy").stat().st_mtime_ns == first
    np.testing.assert_allclose(np.load(tmp_path / "result-a-side.npy"), updates.mean(axis=0))
