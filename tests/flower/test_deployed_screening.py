"""An experiment's screen where every client reads a file of its own: what is heard, kept, refused and gone on with."""

from dataclasses import replace

import pytest
import torch

from fedsonar import Experiment, run
from fedsonar.audit import Privacy
from fedsonar.data import IID, Atlas
from fedsonar.experiment import to_toml
from fedsonar.flower import client
from fedsonar.flower.deployed_screening import DeployedScreening
from fedsonar.flower.grid_engine import GridEngine
from fedsonar.flower.screen_server import ScreenServer
from fedsonar.flower.server import for_clients
from fedsonar.flower.silos import write_silos
from fedsonar.measure import Evaluation
from fedsonar.poison import Attack, ConstantRate
from fedsonar.preparation import Coordination
from fedsonar.records import read_checkpoint
from fedsonar.screen import (
    Above,
    Association,
    GradientShift,
    GradSentry,
    Length,
    ProtegoFed,
    ResponseNgrams,
    ResponseShift,
    Sonar,
)
from keeping_grid import KeepingGrid
from tiny import tiny_base

pytestmark = pytest.mark.usefixtures("identity")

CLIENTS = 4
SMALL = Sonar(association=Association(bits=14, pair_bits=14, slot_bits=8), shift=ResponseShift(bits=14))
PLAIN = Experiment(
    rounds=2, base=tiny_base(), data=Atlas(train=60, test=20), partition=IID(clients=CLIENTS),
    evaluation=Evaluation(rows=4, every=2),
    attack=Attack(placement=ConstantRate(affected=1.0, rate=0.4)),
)  # fmt: skip


@pytest.fixture(scope="module")
def silos(tmp_path_factory):
    return write_silos(PLAIN, tmp_path_factory.mktemp("silos") / "out")


def grid_of(silos, *, tamper=lambda node, message, reply: reply, **config):
    def node(number):
        told = {"client": number, "data": str(silos.clients[number])} | config
        return number, lambda message, context: client.app(message, replace(context, node_config=told))

    return KeepingGrid({100 + number: node(number) for number in range(CLIENTS)}, tamper)


def deployed(screen, grid, *, out=None, resume=False, rounds=2):
    experiment = replace(PLAIN, screen=screen, attack=None, rounds=rounds)
    federation = Coordination(experiment, CLIENTS)
    engine = GridEngine(grid, for_clients(experiment), federation.engine, patience=2.0, gather=0.0)
    return run(
        experiment, engine, out=out, resume=resume, federation=federation,
        screening=lambda federation, state: DeployedScreening(federation, state, engine),
    )  # fmt: skip


@pytest.fixture(
    scope="module",
    params=[ResponseNgrams(), SMALL, replace(SMALL, gradient=GradientShift(bits=14)), GradSentry(pooled=True)],
    ids=["n-grams", "Sonar", "Sonar, gradients too", "GradSentry"],
)
def here(request):
    """A run in process, whose screen has something to find or nothing, by the text or by a model."""
    return run(replace(PLAIN, screen=request.param)), request.param


def test_clients_train_on_the_rows_that_they_train_on_in_process(silos, here):
    wanted, screen = here
    there = deployed(screen, grid_of(silos))
    assert float((there.adapter - wanted.adapter).abs().max()) < 1e-5
    assert [record.rows for record in there.clients] == [record.rows for record in wanted.clients]
    assert {record.client for record in there.sent} == set(range(CLIENTS))
    assert all(record.additive and record.bytes > 0 for record in there.sent)
    if isinstance(screen, ResponseNgrams):
        assert sum(record.rows for record in there.clients) < 2 * 60  # something was left out


def test_a_client_that_loses_its_state_judges_again_and_a_new_server_goes_on_by_what_was_heard(silos, tmp_path):
    screen = ResponseNgrams()
    wanted = deployed(screen, grid_of(silos))
    grid = grid_of(silos)
    deployed(screen, grid, out=tmp_path / "run", rounds=1)
    kept = read_checkpoint(tmp_path / "run")
    assert any(name.startswith("screen.heard.") for name in kept.tensors)
    grid = grid_of(silos)  # a new run of Flower's: nobody has state
    text = (tmp_path / "run" / "experiment.toml").read_text()
    (tmp_path / "run" / "experiment.toml").write_text(text.replace("rounds = 1", "rounds = 2"))
    (tmp_path / "run" / "summary.json").unlink()
    again = deployed(screen, grid, out=tmp_path / "run", resume=True)
    assert torch.equal(again.adapter, wanted.adapter)
    assert not any("fedsonar.sum" in message.content for message in grid.sent)  # nobody was heard again


def test_a_client_that_lost_its_verdict_is_refused_once(silos):
    grid = grid_of(silos)
    seen = []

    def forget(node, message, reply):
        seen.append(message.metadata.message_type)
        if seen.count("train.fedsonar") == CLIENTS:
            grid.states.pop(102, None)  # its node is started anew after the first round
        return reply

    grid.tamper = forget
    found = deployed(ResponseNgrams(), grid, rounds=4)
    refused = [(record.round, record.client) for record in found.clients if record.refused]
    assert refused == [(2, 2)]


def test_rows_that_changed_since_they_were_judged_are_judged_again(silos, tmp_path):
    own = tmp_path / "rows.jsonl"
    lines = silos.clients[2].read_text().splitlines(keepends=True)
    own.write_text("".join(lines))
    grid = grid_of(replace(silos, clients=[*silos.clients[:2], own, silos.clients[3]]))
    seen = []

    def change(node, message, reply):
        seen.append(message.metadata.message_type)
        if seen.count("train.fedsonar") == CLIENTS:
            own.write_text("".join(reversed(lines)))  # as many rows, after the first round
        return reply

    grid.tamper = change
    found = deployed(ResponseNgrams(), grid, rounds=3)
    [refused] = [record for record in found.clients if record.refused]
    assert (refused.round, refused.client) == (2, 2)
    assert "the rows have changed since they were judged" in refused.refused


def test_clients_without_a_verdict_or_a_row_are_left_out_by_name(silos):
    def silent(node, message, reply):
        asked = message.content.get("fedsonar.screen")
        return None if node == 103 and asked is not None and asked["ask"] == "verdict" else reply

    found = deployed(ResponseNgrams(), grid_of(silos, tamper=silent), rounds=1)
    assert {record.client: record.refused for record in found.clients if record.refused} == {
        3: "no verdict on its rows: no reply within 2 s"
    }
    with pytest.raises(ValueError, match=r"client 0: the screen leaves it no row"):
        deployed(Length(threshold=Above(value=-1.0)), grid_of(silos), rounds=1)


def test_a_screen_without_passes_lets_clients_judge_once_and_hears_nobody(silos):
    grid = grid_of(silos)
    found = deployed(Length(threshold=Above(value=1e9)), grid)
    asked = [message.content["fedsonar.screen"]["ask"] for message in grid.sent if "fedsonar.screen" in message.content]
    assert asked == ["verdict"] * CLIENTS
    assert found.sent == []


def test_no_client_adds_to_a_sum_with_less_noise_than_is_promised(silos):
    class Careless(ScreenServer):
        _fewest = 3

    screen = Association(bits=12, pair_bits=12, slot_bits=6, privacy=Privacy(epsilon=8.0, clients=5))
    experiment = to_toml(for_clients(replace(PLAIN, screen=screen, attack=None)))
    grid = grid_of(silos)
    with pytest.raises(
        ValueError, match="input: it refused: a threshold of 3 is too low: a sum of fewer than 5 clients"
    ):
        Careless(grid=grid, screen=screen, timeout=2.0, more={"experiment": experiment}).hear(list(grid.nodes))


def test_summaries_that_do_not_add_up_leave_a_client_only_where_its_node_says_so(silos):
    screen = ProtegoFed()
    with pytest.raises(ValueError, match="do not add up, and this node does not say clear=true"):
        deployed(screen, grid_of(silos), rounds=1)
    found = deployed(screen, grid_of(silos, clear=True), rounds=1)
    assert not any(record.refused for record in found.clients)
    assert not any(record.additive for record in found.sent)
