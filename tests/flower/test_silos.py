"""An experiment in files, one a client: the rows, their order, and what a deployed client makes of them."""

import json
from dataclasses import replace

import pytest
import torch

from fedsonar import Experiment, cli, run
from fedsonar.data import IID, Atlas, Files
from fedsonar.engine import ClientJob
from fedsonar.experiment import load, to_toml
from fedsonar.flower import client
from fedsonar.flower.grid_engine import GridEngine
from fedsonar.flower.keys import make_keys
from fedsonar.flower.own_data import OwnData
from fedsonar.flower.server import Settings, for_clients, prepared
from fedsonar.flower.silos import write_silos
from fedsonar.measure import Evaluation
from fedsonar.poison import Attack, ConstantRate
from fedsonar.preparation import Coordination, Federation
from fedsonar.screen import Oracle, Sonar
from here_grid import HereGrid
from tiny import tiny_base

SMALL = Experiment(
    rounds=1, base=tiny_base(), data=Atlas(train=50, test=20), partition=IID(clients=5), evaluation=Evaluation(rows=4),
    attack=Attack(placement=ConstantRate(affected=0.7, rate=0.3)),
)  # fmt: skip


@pytest.fixture(scope="module")
def federation():
    return Federation(SMALL)


@pytest.fixture(scope="module")
def silos(tmp_path_factory):
    return write_silos(SMALL, tmp_path_factory.mktemp("silos") / "out")


def node(silos, number, **config):
    """A node of a deployment, which has a file of its own."""
    told = {"client": number, "data": str(silos.clients[number])} | config
    return number, lambda message, context: client.app(message, replace(context, node_config=told))


def test_files_hold_the_rows_of_the_experiment_in_its_order(federation, silos):
    for shard, path in zip(federation.shards, silos.clients, strict=True):
        rows = Files(train=str(path)).rows()
        assert [(s.id, s.instruction, s.context, s.question, s.answers) for s in rows] == [
            (s.id, s.instruction, s.context, s.question, s.answers) for s in shard
        ]
        assert {"id", "instruction", "context", "question", "answers"} == set(
            json.loads(path.read_text().split("\n")[0])
        )
    assert load(silos.experiment) == SMALL
    assert write_silos(SMALL, silos.folder).clients == silos.clients  # again, to go on with
    with pytest.raises(ValueError, match="holds something else; choose another --out"):
        write_silos(replace(SMALL, seed=1), silos.folder)


@pytest.mark.usefixtures("identity")
def test_a_client_with_its_own_file_trains_as_one_in_process(federation, silos):
    start = torch.zeros(federation.layout.dim)
    jobs = [ClientJob(number, 1, federation.rows[number], start) for number in range(5)]
    grid = HereGrid({10 - number: node(silos, number) for number in range(5)})
    found = GridEngine(grid, for_clients(SMALL), federation.engine, patience=5.0).train_round(jobs)
    for one, other in zip(found, federation.engine.train_round(jobs), strict=True):
        assert (one.client, one.num_rows, one.num_steps) == (other.client, other.num_rows, other.num_steps)
        torch.testing.assert_close(one.delta, other.delta, atol=1e-5, rtol=0)
    for message in grid.sent:
        if "job" in message.content:
            said = message.content["job"]["experiment"]
            assert not [word for word in ("attack", "affected", "evaluation.rows = 4", "train = 50") if word in said]


def test_clients_are_told_how_to_train_and_nothing_else():
    told = for_clients(replace(SMALL, name="secret", rounds=7))
    kept = ("seed", "max_length", "base", "lora", "template", "training", "pass_tokens", "space")
    assert all(getattr(told, name) == getattr(SMALL, name) for name in kept)
    assert told == for_clients(Experiment(base=SMALL.base, data=Atlas(seed=5)))


@pytest.mark.usefixtures("identity")
def test_a_server_that_knows_no_rows_reads_the_blind_gauge_alone(federation, silos, tmp_path):
    settings = Settings(experiment="e", out="o", clients=5)
    made = prepared(replace(SMALL, attack=None), settings)
    assert isinstance(made, Coordination)
    assert [len(rows) for rows in made.rows] == [0, 0, 0, 0, 0]
    grid = HereGrid({10 - number: node(silos, number) for number in range(5)})
    engine = GridEngine(grid, for_clients(SMALL), made.engine, patience=5.0)
    result = run(replace(SMALL, attack=None), engine, federation=made, out=tmp_path / "run")
    assert result.summary["bsnr"] is None
    assert result.rounds[-1].bsnr_blind_ratio is not None
    assert result.rounds[-1].bsnr_crossfit_db is None
    assert result.signals == []
    assert {record.poisoned_rows for record in result.clients} == {None}
    assert [record.rows for record in result.clients] == [len(rows) for rows in federation.rows]
    assert cli.main(["report", str(tmp_path / "run"), "--json"]) == cli.DONE


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bsnr": replace(SMALL.bsnr, twins=True)}, "set bsnr.twins to false"),
        ({"screen": Oracle()}, "nobody knows in a deployment; use Sonar"),
        ({"screen": Sonar(), "screen_every": 2}, "leave screen_every out"),
        ({"clients_per_round": 4}, "clients_per_round 4 is more than the 3 clients"),
        ({"min_updates": 4}, "min_updates 4 is more than the 3 clients of a round"),
        ({"clients_per_round": 2, "min_updates": 3}, "min_updates 3 is more than the 2 clients of a round"),
    ],
)
def test_what_a_deployment_cannot_do_is_said_before_the_first_round(change, said):
    with pytest.raises(ValueError, match=said):
        prepared(replace(SMALL, **change), Settings(experiment="e", out="o", clients=3))
    if "twins" in said:
        with pytest.raises(ValueError, match=said):
            prepared(replace(SMALL, **change), Settings(experiment="e", out="o", rehearsal=True))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"experiment": "e"}, "needs out"),
        ({"experiment": "e", "out": "o"}, "needs either clients"),
        ({"experiment": "e", "out": "o", "clients": 3, "rehearsal": True}, "needs either clients"),
        ({"experiment": "e", "out": "o", "clients": 3, "patience": 0}, "patience above 0"),
        ({"experiment": "e", "out": "o", "client": 3}, "'client', which is none of experiment, out, clients"),
    ],
)
def test_an_app_that_says_too_little_is_refused(config, said):
    with pytest.raises(ValueError, match=said):
        Settings.of(config)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "does not say which client it is"),
        ({"client": -1, "data": "x"}, "does not say which client it is"),
        ({"client": 0, "data": ""}, "does not say which client it is"),
        ({"client": 0, "data": "x", "path": "y"}, "node-config has 'path', which is none of client, data, model"),
        ({"client": 0, "data": "x", "clear": "false"}, "clear is 'false'; it is true or false"),
    ],
)
def test_a_node_that_says_too_little_is_refused(config, said):
    with pytest.raises(ValueError, match=said):
        OwnData.of(config)


def test_a_node_brings_its_own_model_and_reads_its_rows_again_when_they_change(silos, tmp_path):
    own = OwnData.of({"client": 1, "data": str(tmp_path / "rows.jsonl"), "model": "/models/base", "device": "cpu"})
    assert own.here(SMALL).base == replace(SMALL.base, path="/models/base", device="cpu")
    assert own.stamp() == (0, 0)
    (tmp_path / "rows.jsonl").write_text(silos.clients[0].read_text())
    own = replace(own, model="")
    before = client.token_rows(to_toml(SMALL), own, own.stamp())
    (tmp_path / "rows.jsonl").write_text("\n".join(silos.clients[0].read_text().split("\n")[:3]))
    after = client.token_rows(to_toml(SMALL), own, own.stamp())
    assert (len(after), after[0]) == (3, before[0])


@pytest.mark.usefixtures("identity")
def test_a_deployed_client_trains_no_twin_and_no_other_client(federation, silos):
    start = torch.zeros(federation.layout.dim)
    job = ClientJob(0, 1, federation.rows[0], start)
    engine = GridEngine(HereGrid({1: node(silos, 0)}), for_clients(SMALL), federation.engine, patience=0.5)
    with pytest.raises(ValueError, match="the twin of client 0 did not train: its app failed: asked to train a twin"):
        engine.train_round([job, job])
    calls = iter(range(9))
    one, other = node(silos, 0)[1], node(silos, 1)[1]
    turns = HereGrid({1: (0, lambda message, context: (other if next(calls) else one)(message, context))})
    [update] = GridEngine(turns, for_clients(SMALL), federation.engine, patience=0.5).train_round([job])
    assert "asked to train client 0, but this is client 1" in update.missing


def test_private_keys_are_for_their_owner_alone_and_kept(tmp_path):
    keys = make_keys(tmp_path / "keys", host="127.0.0.1", clients=2)
    before = {path: path.read_bytes() for path in (keys.ca, keys.certificate, keys.key, *keys.nodes)}
    assert {path.stat().st_mode & 0o777 for path in (keys.key, *keys.nodes)} == {0o600}
    assert all(b"ecdsa-sha2-nistp384" in path.with_suffix(".pub").read_bytes() for path in keys.nodes)
    make_keys(tmp_path / "keys", host="127.0.0.1", clients=2)
    assert {path: path.read_bytes() for path in before} == before


def test_the_command_writes_silos(tmp_path, capsys):
    (tmp_path / "small.toml").write_text(to_toml(SMALL))
    arguments = ["silos", str(tmp_path / "small.toml"), "--out", str(tmp_path / "out"), "--json"]
    assert cli.main(arguments) == cli.DONE
    said = json.loads(capsys.readouterr().out)
    assert len(said["clients"]) == 5
    assert cli.main([*arguments, "--set", "bsnr.twins=true"]) == cli.FAILED
