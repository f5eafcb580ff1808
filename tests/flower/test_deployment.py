"""Real SuperLinks and SuperNodes on loopback: the same result as in one process, and what happens when parts die."""

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import tomli_w

from alive import runs
from fedsonar import Experiment, run
from fedsonar.data import IID, Atlas
from fedsonar.experiment import to_toml
from fedsonar.flower.loopback import Loopback, stop
from fedsonar.flower.server import Settings
from fedsonar.flower.silos import pyproject, write_silos
from fedsonar.measure import Evaluation
from fedsonar.poison import Attack, ConstantRate
from fedsonar.records import read_checkpoint
from fedsonar.screen import ResponseNgrams

pytestmark = pytest.mark.waits
POISONED = Experiment(
    rounds=2, data=Atlas(train=60, test=40), partition=IID(clients=4), evaluation=Evaluation(rows=20, every=2),
    attack=Attack(placement=ConstantRate(affected=0.5, rate=0.3)),
)  # fmt: skip
LONG = 400.0
"""Seconds that a step may take on a slow machine; it takes about ten on a fast one."""


def wait_for(what, seconds=LONG):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)
    return found


def processes(*words):
    """Processes of this machine whose command has all the words."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if all(word in command for word in words) and runs(folder.name):
            found.append(int(folder.name))
    return found


def compare(here, out):
    there = read_checkpoint(out)
    assert float((here.adapter - there.adapter).abs().max()) < 1e-5
    assert (here.folder / "summary.json").read_bytes() == (out / "summary.json").read_bytes()


def test_a_deployment_gives_what_one_process_gives_whatever_is_killed(tmp_path):
    here = run(POISONED, out=tmp_path / "here")
    silos = write_silos(POISONED, tmp_path / "there")
    said = []
    with Loopback(silos, poll=0.5, show=said.append) as loopback:
        assert [line.split(":")[0] for line in said] == ["superlink", "supernodes"]
        # The server app is killed inside the first round, of which nothing is left.
        first = loopback.submit()
        wait_for(lambda: "rounds = 2" in read_text(silos.out / "experiment.toml"))
        [server] = wait_for(lambda: processes("flwr-serverapp", f":{loopback.port}"))
        wait_for(lambda: ours(loopback, "flwr-clientapp"))
        os.kill(server, signal.SIGKILL)
        stop([first])
        assert read_checkpoint(silos.out) is None

        # The SuperLink is killed after a round, and comes back with its database; so are the clients' workers.
        second = loopback.submit()
        wait_for(lambda: (silos.out / "checkpoint" / "state.safetensors").exists())
        loopback.kill("superlink")
        stop([second])
        wait_for(lambda: not processes("flwr-serverapp", f":{loopback.port}"))
        kept = read_checkpoint(silos.out)
        assert [record.round for record in kept.rounds] == [0, 1]
        [worker, *_] = workers = wait_for(lambda: ours(loopback))
        assert len(workers) == 4  # each kept its model over two runs
        os.kill(worker, signal.SIGKILL)
        loopback.start_link()

        # The same command goes on from there.
        said.clear()
        loopback.run(timeout=LONG)
        assert [line.split(":")[0] for line in said] == ["server", "round 2"]
        compare(here, silos.out)
        assert len(ours(loopback)) == 4

        # A SuperNode that is killed takes its worker with it.
        loopback.kill("client-0")
        wait_for(lambda: len(ours(loopback)) == 3)
    assert not ours(loopback)
    assert not processes(str(loopback.folder))


def read_text(path):
    return path.read_text() if path.exists() else ""


def ours(loopback, program="-m fedsonar.flower.worker"):
    """The clients' workers, or other processes: those whose environment says that they are of this deployment."""
    home = f"FLWR_HOME={loopback.folder / 'home'}".encode()
    return [pid for pid in processes(program) if home in environment(pid)]


def environment(pid):
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


HOSTILE = '''
"""Clients that do not do what they are asked for; the first does, and writes down what comes and goes."""
import json
import os
import signal
from pathlib import Path
import numpy as np
from flwr.app import Array, ArrayRecord, Message, RecordDict
from fedsonar.flower.warm import WarmClientApp

HUGE = int(os.environ.get("HOSTILE_MB", 16))  # with 1024 it takes minutes and some 8 GB of memory

class Hostile(WarmClientApp):
    def __call__(self, message, context):
        client = context.node_config["client"]
        if client == 0:
            reply = super().__call__(message, context)
            with (Path(os.environ["FLWR_HOME"]) / "wire.jsonl").open("a") as file:
                parts = [self.names(message.content), self.names(reply.content)]
                file.write(json.dumps([message.metadata.message_type, *parts]) + "\\n")
            return reply
        if message.metadata.message_type.startswith("query"):
            return super().__call__(message, context)
        if client == 3:  # its SuperNode dies at work
            parent = int(open(f"/proc/{os.getppid()}/stat").read().rpartition(")")[2].split()[1])
            os.kill(parent, signal.SIGKILL)
        if client == 2:  # far more than an adapter
            return self.reply(message, np.ones(HUGE * 2**18, np.float32), {})
        reply = super().__call__(message, context)
        vector = reply.content["update"]["adapter"].numpy()
        if client == 1:
            reply.content["update"] = ArrayRecord({"adapter": Array(vector * np.nan)})
        return reply

    @staticmethod
    def names(content):
        return {record: sorted(content[record]) for record in sorted(content)}

    @staticmethod
    def reply(message, vector, more):
        content = {"update": ArrayRecord({"adapter": Array(vector)}), **more}
        return Message(RecordDict(content), reply_to=message)

app = Hostile("fedsonar.flower.client:app")
'''


def what_crossed_the_wire(path):
    """Asserts all that one client was asked and told, as docs/flower.md and docs/screens_over_flower.md have it."""
    seen = [json.loads(line) for line in path.read_text().splitlines()]
    kinds, asked, told = zip(*seen, strict=True)
    assert kinds == ("query.fedsonar", *5 * ["query.fedsonar_screen"], "train.fedsonar")
    question = {"fedsonar.screen": ["ask", "experiment", "passes", "screen"]}
    assert asked == (
        {"who": []},
        {"fedsonar.sum": ["layout", "seat", "stage", "sum", "threshold"]},
        {"fedsonar.sum": ["letter_keys", "mask_keys", "seats", "stage", "sum"]},
        question | {"fedsonar.sum": ["peers", "sealed", "stage", "sum"]},
        {"fedsonar.sum": ["arrived", "lost", "stage", "sum"]},
        question | {"fedsonar.heard.1": ["counts", "rows"]},
        {"job": ["client", "experiment", "round", "twin"], "start": ["adapter"]},
    )
    assert told == (
        {"who": ["client"]},
        {"fedsonar.sum": ["keys"]},
        {"fedsonar.sum": ["seal", "sealed"]},
        {"fedsonar.masked": ["sum"], "fedsonar.sum": []},
        {"fedsonar.sum": ["mask", "own"]},
        {"fedsonar.screen": ["rows"]},
        {"metrics": ["client", "loss", "rows", "steps"], "update": ["adapter"]},
    )


def test_clients_that_send_nonsense_too_much_or_nothing_are_refused_by_name(tmp_path):
    experiment = replace(POISONED, rounds=1, evaluation=Evaluation(rows=4))
    silos = write_silos(experiment, tmp_path / "there")
    experiment = replace(experiment, attack=None, bsnr=replace(experiment.bsnr, parts=True), screen=ResponseNgrams())
    silos.experiment.write_text(to_toml(experiment))
    app = pyproject("hostile", Settings(experiment=str(silos.experiment), out=str(silos.out), clients=4, patience=90.0))
    app["tool"]["flwr"]["app"]["components"]["clientapp"] = "hostile:app"
    (silos.app / "pyproject.toml").write_text(tomli_w.dumps(app))
    (silos.app / "hostile.py").write_text(HOSTILE)
    with Loopback(silos, tls=False, poll=0.5) as loopback:
        loopback.run(timeout=LONG)
        clients = pq.read_table(silos.out / "clients.parquet").to_pylist()
        refused = {row["client"]: row["refused"] for row in clients}
        assert refused[0] == ""
        assert refused[1] == "values that are not finite"
        assert "a reply of more than" in refused[2]
        assert "which was not read" in refused[2]
        assert refused[3]  # no reply in time, or Flower says that the node is gone
        assert {row["poisoned_rows"] for row in clients} == {None}
        what_crossed_the_wire(loopback.folder / "home" / "wire.jsonl")
        sent = pq.read_table(silos.out / "screen.parquet").to_pylist()
        assert {row["client"] for row in sent} == {0, 1, 2, 3}
        assert 0 < next(row["rows"] for row in clients if row["client"] == 0) < 15  # what the screen has left it
        [_, one] = pq.read_table(silos.out / "rounds.parquet").to_pylist()
        assert one["bsnr_note"] == "nobody knows who is affected"
        assert one["bsnr_crossfit_db"] is None

        # With a stated minimum the round fails instead, and says so.
        silos.experiment.write_text(to_toml(replace(experiment, screen=None, min_updates=3)))
        said = r"round 1: 1 of 4 updates are left, and min_updates is 3 \(refused: client 1: values that are not finite"
        with pytest.raises(ChildProcessError, match=said):
            loopback.run(config=f"out='{silos.out}-2' patience=15.0 gather=5.0", timeout=LONG)
