"""Clients by nodes of a grid: who is asked, what is taken from them, and what happens without them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from fedsonar import Experiment, run
from fedsonar.data import IID, Atlas
from fedsonar.engine import ClientJob
from fedsonar.flower import wire
from fedsonar.flower.client import app
from fedsonar.flower.grid_engine import GridEngine
from fedsonar.measure import Evaluation
from fedsonar.poison import Attack, ConstantRate
from fedsonar.preparation import Federation
from here_grid import HereGrid
from tiny import tiny_base

pytestmark = pytest.mark.usefixtures("identity")

SMALL = Experiment(
    rounds=1, base=tiny_base(), data=Atlas(train=40, test=20), partition=IID(clients=3), evaluation=Evaluation(rows=4),
    attack=Attack(placement=ConstantRate(affected=1.0, rate=0.3)),
)  # fmt: skip


@pytest.fixture(scope="module")
def federation():
    return Federation(SMALL)


def jobs(federation, round=1):
    start = torch.zeros(federation.layout.dim)
    return [ClientJob(client, round, federation.rows[client], start) for client in range(3)]


def engine(federation, nodes, **options):
    return GridEngine(HereGrid(nodes), SMALL, federation.engine, **{"patience": 5.0} | options)


def honest(clients=(0, 1, 2)):
    return {100 - client: (client, app) for client in clients}


def test_replies_are_put_in_the_order_of_the_jobs(federation):
    found = engine(federation, honest()).train_round(jobs(federation))
    expected = federation.engine.train_round(jobs(federation))
    assert [update.client for update in found] == [0, 1, 2]
    for one, other in zip(found, expected, strict=True):
        assert (one.num_rows, one.num_steps) == (other.num_rows, other.num_steps)
        assert one.loss == pytest.approx(other.loss, rel=1e-5)
        torch.testing.assert_close(one.delta, other.delta, atol=1e-5, rtol=0)


def test_clients_train_on_the_rows_that_a_screen_leaves_them(federation):
    some = [replace(job, rows=job.rows[: 3 + job.client]) for job in jobs(federation)]
    found = engine(federation, honest(), screened=True).train_round(some)
    for one, other in zip(found, federation.engine.train_round(some), strict=True):
        assert one.num_rows == other.num_rows == 3 + one.client
        torch.testing.assert_close(one.delta, other.delta, atol=1e-5, rtol=0)


def test_nothing_but_the_change_and_three_numbers_leaves_a_client(federation):
    grid = HereGrid(honest())
    replies = []
    plain = grid.pull_messages
    grid.pull_messages = lambda ids: [replies.append(reply) or reply for reply in plain(ids)]
    GridEngine(grid, SMALL, federation.engine).train_round(jobs(federation))
    for reply in replies:
        if reply.metadata.message_type == wire.TRAIN:
            assert set(reply.content) == {"update", "metrics"}
            assert set(reply.content["metrics"]) == {"client", "rows", "steps", "loss"}
            assert list(reply.content["update"]) == ["adapter"]
            assert len(reply.content["update"]["adapter"].data) < 4 * federation.layout.dim + 4096
        else:
            assert dict(reply.content["who"]) == {"client": reply.content["who"]["client"]}
    for message in grid.sent:
        assert set(message.content) <= {"who", "job", "start"}


def test_a_node_that_comes_back_under_another_number_is_known_by_its_partition(federation):
    nodes = honest()
    grid_engine = engine(federation, nodes)
    grid_engine.train_round(jobs(federation))
    nodes[7] = nodes.pop(100)
    found = grid_engine.train_round(jobs(federation, 2))
    assert [update.missing for update in found] == ["", "", ""]
    del nodes[7]
    found = grid_engine.train_round(jobs(federation, 3))
    assert [update.missing for update in found] == ["no node of it is connected", "", ""]


def changed(**replaced):
    """A node whose reply has other records."""

    def act(message, context):
        reply = app(message, context)
        if message.metadata.message_type != wire.TRAIN:
            return reply
        metrics = dict(reply.content["metrics"]) | {k: v for k, v in replaced.items() if k != "update"}
        update = replaced.get("update", lambda vector: vector)(reply.content["update"]["adapter"].numpy())
        content = {"update": ArrayRecord({"adapter": Array(update)}), "metrics": MetricRecord(metrics)}
        return Message(RecordDict(content), reply_to=message)

    return act


def lost(message, context):
    if message.metadata.message_type == wire.TRAIN:
        raise TimeoutError
    return app(message, context)


def with_content(make):
    def act(message, context):
        return (
            Message(make(), reply_to=message) if message.metadata.message_type == wire.TRAIN else app(message, context)
        )

    return act


def failing(message, context):
    if message.metadata.message_type == wire.TRAIN:
        raise RuntimeError("no space\nleft")
    return app(message, context)


class Huge:
    """An array that says it is as it should be, and holds far more."""

    @staticmethod
    def record():
        array = Array("float32", (10,), "numpy.ndarray", b"x" * 10_000_000)
        return RecordDict({"update": ArrayRecord({"adapter": array}), "metrics": MetricRecord({"client": 0})})


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lost, "no reply within 0.5 s"),
        (failing, "its app failed: no space left"),
        (changed(update=lambda v: v[:-1]), "float32 of shape"),
        (changed(update=lambda v: v.astype(np.float64)), "float64 of shape"),
        (changed(update=lambda v: v.reshape(1, -1)), "float32 of shape (1, "),
        (changed(client=1), "the update of client 1 in its place"),
        (changed(rows=0), "0 rows and"),
        (changed(rows=-5), "-5 rows and"),
        (changed(rows=2**40), f"{2**40} rows and"),
        (changed(rows=1.5), "rows is '1.5' instead of a number"),
        (changed(steps=[1, 2]), "steps is '[1, 2]' instead of a number"),
        (changed(rows=10), "4 steps for 10 rows, which take 3"),
        (changed(update=lambda v: v + np.float32(1e30)), "a change of 1e+30, and 4 steps reach"),
        (changed(loss=math.nan), "a loss of nan"),
        (changed(more=1), ""),
        (with_content(Huge.record), "instead of float32 of shape"),
        (with_content(lambda: RecordDict({})), "records [] instead of metrics and update"),
        (with_content(lambda: RecordDict({"update": ConfigRecord({"a": "x"}), "metrics": ConfigRecord({})})),
         "records of other kinds"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_by_name_and_the_round_goes_on(federation, act, said):
    nodes = honest() | {100: (0, act)}
    first, *others = engine(federation, nodes, patience=0.5).train_round(jobs(federation))
    assert said in first.missing
    assert bool(first.missing) == bool(said)
    assert len(first.missing) < 300
    assert [update.missing for update in others] == ["", ""]


def test_a_round_with_a_refused_client_is_recorded(federation, tmp_path):
    nodes = honest() | {100: (0, changed(update=lambda v: v * np.nan)), 99: (1, lost)}
    result = run(SMALL, engine(federation, nodes, patience=0.5), out=tmp_path / "run")
    refused = {record.client: record.refused for record in result.clients}
    assert refused == {0: "values that are not finite", 1: "no reply within 0.5 s", 2: ""}
    assert result.summary["rounds"] == 1


def test_a_run_with_fewer_usable_updates_than_its_minimum_ends_and_says_whose_are_missing(federation):
    broken = changed(update=lambda vector: vector * math.nan)
    nodes = engine(federation, honest() | {100: (0, broken)})
    said = "round 1: 2 of 3 updates are left, and min_updates is 3 .refused: client 0: values that are not finite"
    with pytest.raises(ValueError, match=said):
        run(replace(SMALL, min_updates=3), nodes)


def test_a_twin_that_is_lost_ends_the_run(federation):
    start = torch.zeros(federation.layout.dim)
    wanted = [ClientJob(0, 1, federation.rows[0], start)] * 2
    count = iter(range(9))

    def only_once(message, context):
        if message.metadata.message_type == wire.TRAIN and next(count):
            raise TimeoutError
        return app(message, context)

    with pytest.raises(ValueError, match="the twin of client 0 did not train: no reply within"):
        engine(federation, {1: (0, only_once)}, patience=0.5).train_round(wanted)


def test_a_client_that_is_not_the_one_that_is_asked_refuses(federation):
    nodes = honest()

    def pretends(message, context):
        if message.metadata.message_type == wire.TRAIN:
            return app(message, replace_partition(context, 2))
        return app(message, context)

    nodes[100] = 0, pretends
    first, *_ = engine(federation, nodes).train_round(jobs(federation))
    assert "asked to train client 0, but this is client 2" in first.missing


def replace_partition(context, client):
    return replace(context, node_config={"partition-id": client})
