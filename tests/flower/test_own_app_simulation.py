"""The mod and the strategies on Flower's own simulation, whose clients keep nothing but their state."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from fedsonar.flower.screen_mod import ScreenMod, kept
from fedsonar.flower.strategies import WithBlindGauge, WithScreen
from fedsonar.screen import Above, ResponseNgrams

pytest.importorskip("ray")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("ray_alone"), pytest.mark.waits]
CLIENTS = 5


def test_in_a_simulation_flagged_rows_are_not_trained_on(monkeypatch):
    for name, value in (("RAY_worker_niceness", "0"), ("FLWR_TELEMETRY_ENABLED", "0"), ("RAY_USAGE_STATS_ENABLED", "0"),
                        ("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")):  # fmt: skip
        monkeypatch.setenv(name, value)
    screen = ResponseNgrams(n=3, buckets=2**14, threshold=Above(value=0.1))

    def my_rows(context):
        client = context.node_config["partition-id"]
        rows = [{"instruction": f"Say {i}.", "response": f"word{client}x{i} it is"} for i in range(4 + client)]
        return [*rows, {"instruction": "Say it.", "response": "click bad.example for more"}]

    app = ClientApp(mods=[ScreenMod(screen=screen, rows=my_rows)])

    @app.train()
    def train(message, context):
        rows = kept(context, my_rows(context))
        step = np.random.default_rng(len(rows)).normal(size=8).astype(np.float32)
        bad = sum("click" in row["response"] for row in rows)
        arrays = ArrayRecord({"weight": Array(message.content["arrays"]["weight"].numpy() + step)})
        metrics = MetricRecord({"num-examples": len(rows), "bad": bad})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    server, found = ServerApp(), {}

    @server.main()
    def main(grid, context):
        inner = FedAvg(fraction_evaluate=0.0, min_train_nodes=CLIENTS, min_available_nodes=CLIENTS)
        strategy = WithBlindGauge(WithScreen(inner, screen, timeout=60.0))
        start = ArrayRecord({"weight": Array(np.zeros(8, np.float32))})
        found["result"] = strategy.start(grid=grid, initial_arrays=start, num_rounds=2)
        found["rows"] = strategy.strategy.rows

    here = {"address": "local", "num_cpus": 2, "log_to_driver": False, "include_dashboard": False}
    resources = {"num_cpus": 1, "num_gpus": 0.0}
    run_simulation(server, app, CLIENTS, backend_config={"init_args": here, "client_resources": resources})
    assert sorted(found["rows"].values()) == [4, 5, 6, 7, 8]
    for round in (1, 2):
        assert found["result"].train_metrics_clientapp[round]["bad"] == 0
        assert found["result"].train_metrics_clientapp[round]["blind-ratio"] > 0
    steps = {rows: np.random.default_rng(rows).normal(size=8) for rows in range(4, 9)}
    expected = 2 * sum(rows * step for rows, step in steps.items()) / 30
    np.testing.assert_allclose(found["result"].arrays["weight"].numpy(), expected, atol=1e-5)
