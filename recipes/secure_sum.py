"""Time and bytes of a secure sum in one process, beside the one round of Flower's SecAgg+ workflow that would do it.

``python recipes/secure_sum.py --clients 25 --counts 1000000 --leave 3`` prints one JSON value: every client has so many
counts, `leave` of them leave after they shared their keys, and every message goes through bytes as between processes.
"""

# ruff: noqa: ARG002, ARG005, D102 (what Flower's interfaces ask for)

from __future__ import annotations

import argparse
import copy
import json
import time
import warnings
from collections.abc import Callable, Iterable

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.common.secure_aggregation.crypto.symmetric_encryption import generate_shared_key
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as Proto
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from fedsonar.flower.secure import Layout, SecureSum, answer


class Here(Grid):
    """Nodes in this process, with what each of them took and sent."""

    def __init__(self, acts: dict[int, Callable[[Message, Context], Message]], lost: Callable[[int, Message], bool]):
        self.acts, self.lost = acts, lost
        self.states = dict.fromkeys(acts, b"")
        self.seconds, self.sent = dict.fromkeys(acts, 0.0), dict.fromkeys(acts, 0)

    def set_run(self, run): ...
    def create_message(self, *arguments, **options): ...
    def push_messages(self, messages): ...
    def pull_messages(self, message_ids): ...

    @property
    def run(self): ...

    def get_node_ids(self):
        return list(self.acts)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        found = []
        for message in messages:
            node = message.metadata.dst_node_id
            if self.lost(node, message):
                continue
            read = copy.copy(message)
            read.content = recorddict_from_proto(
                Proto.FromString(recorddict_to_proto(message.content).SerializeToString())
            )
            context = Context(1, node, {}, recorddict_from_proto(Proto.FromString(self.states[node])), {})
            began = time.process_time()
            reply = self.acts[node](read, context)
            self.seconds[node] += time.process_time() - began
            text = recorddict_to_proto(reply.content).SerializeToString()
            self.sent[node] += len(text)
            self.states[node] = recorddict_to_proto(context.state).SerializeToString()
            reply.content = recorddict_from_proto(Proto.FromString(text))
            reply.metadata.__dict__["_src_node_id"] = node
            found.append(reply)
        return found

    def figures(self, seconds: float) -> dict[str, float]:
        """Seconds of the whole and of a client, and bytes that a client sends: the most of any."""
        client = max(self.seconds.values())
        return {"seconds": round(seconds, 2), "client_seconds": round(client, 3),
                "server_seconds": round(seconds - sum(self.seconds.values()), 2),
                "client_bytes": max(self.sent.values())}  # fmt: skip


def ours(counts: np.ndarray, leaving: set[int], share: float) -> dict[str, float]:
    """Our sum; exact, or this raises."""
    clients = len(counts)
    acts = {c + 1: lambda m, x, c=c: answer(m, x, lambda: {"counts": counts[c]}) for c in range(clients)}
    grid = Here(acts, lambda node, m: node - 1 in leaving and m.content["fedsonar.sum"]["stage"] == "input")
    layout = Layout.of({"counts": counts[0]}, clients)
    began = time.process_time()
    found = SecureSum(grid=grid, message_type="query.sum", share=share)(list(acts), layout)
    seconds = time.process_time() - began
    expected = counts[[c for c in range(clients) if c not in leaving]].sum(axis=0)
    return grid.figures(seconds) | {"off": int(np.abs(found.tables["counts"] - expected).max())}


def workflow(counts: np.ndarray, leaving: set[int], share: float) -> dict[str, float]:
    """Flower's, with weights of one, its range set so that whole numbers stay whole, and its mean times the clients."""
    from flwr.client import NumPyClient
    from flwr.client.mod import secaggplus_mod
    from flwr.clientapp import ClientApp
    from flwr.common import FitIns, ndarrays_to_parameters, parameters_to_ndarrays
    from flwr.compat.common import recorddict_compat as compat
    from flwr.server import LegacyContext, ServerConfig
    from flwr.server.strategy import FedAvg
    from flwr.server.workflow import SecAggPlusWorkflow
    from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key

    clients = len(counts)

    class Counting(NumPyClient):
        def __init__(self, own):
            self.own = own

        def fit(self, parameters, config):
            return [self.own.astype(np.float64)], 1, {}

    class Proxy:
        def __init__(self, node):
            self.node_id, self.cid = node, str(node)

    results = []

    class Once(FedAvg):
        def configure_fit(self, server_round, parameters, client_manager):
            return [(Proxy(c + 1), FitIns(parameters, {})) for c in range(clients)]

        def aggregate_fit(self, server_round, found, failures):
            results.append(parameters_to_ndarrays(found[0][1].parameters)[0])
            return found[0][1].parameters, {}

    def client_app(own):
        return ClientApp(client_fn=lambda context: Counting(own).to_client(), mods=[secaggplus_mod])

    apps = {c + 1: client_app(counts[c]) for c in range(clients)}
    stage = lambda m: m.content["secaggplus_configs"]["stage"]  # noqa: E731
    grid = Here(apps, lambda node, m: node - 1 in leaving and stage(m) == "collect_masked_vectors")
    for node in apps:
        grid.states[node] = b""

    class Manager:
        def num_available(self):
            return clients

    context = LegacyContext(Context(1, 0, {}, RecordDict(), {}), ServerConfig(), Once(), Manager())
    context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({Key.CURRENT_ROUND: 1})
    context.state.array_records[MAIN_PARAMS_RECORD] = compat.parameters_to_arrayrecord(
        ndarrays_to_parameters([np.zeros(1)]), keep_input=False
    )
    plan = SecAggPlusWorkflow(
        num_shares=1.0, reconstruction_threshold=share, max_weight=1.0, clipping_range=2.0**21,
        quantization_range=2**22, timeout=10.0,
    )  # fmt: skip
    began = time.process_time()
    plan(grid, context)
    seconds = time.process_time() - began
    stayed = [c for c in range(clients) if c not in leaving]
    off = np.abs(results[0] * len(stayed) - counts[stayed].sum(axis=0)).max()
    return grid.figures(seconds) | {"off": float(off)}


def seeds_tried() -> float:
    """How many of the 2^32 seeds of Flower's masks one core tries in a second."""
    began, tried = time.process_time(), 20_000
    for seed in range(tried):
        np.random.RandomState(seed).randint(0, 2**32 - 1, (4,), dtype=np.int64)
    return tried / (time.process_time() - began)


def seed_bits() -> int:
    """How many bits of a seed of Flower's masks in common ever change: its key is text, and its words are added up."""
    private = ec.generate_private_key(ec.SECP384R1())
    changed, first = 0, None
    for _ in range(200):
        key = generate_shared_key(private, ec.generate_private_key(ec.SECP384R1()).public_key())
        seed = 0
        for place in range(0, len(key), 4):
            seed ^= int.from_bytes(key[place : place + 4], "little")
        first = seed if first is None else first
        changed |= seed ^ first
    return changed.bit_count()


def main() -> None:
    """Prints the figures."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--clients", type=int, default=25)
    asked.add_argument("--counts", type=int, default=1_000_000)
    asked.add_argument("--leave", type=int, default=0)
    asked.add_argument("--share", type=float, default=2 / 3)
    options = asked.parse_args()
    warnings.simplefilter("ignore")
    for name in ("_run_id", "_node_id", "_task_id"):
        setattr(TaskIdentity, name, 1)
    counts = np.random.default_rng(0).poisson(0.2, (options.clients, options.counts)).astype(np.int64)
    leaving = set(range(options.leave))
    found = {
        "ours": ours(counts, leaving, options.share),
        "workflow": workflow(counts, leaving, options.share),
        "seed_bits": seed_bits(),
        "seeds_per_second": round(seeds_tried()),
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
