"""A screen and the blind gauge in somebody's own Flower app, at the server: strategies around any other one."""

from __future__ import annotations

from collections.abc import Iterable
from logging import INFO, WARNING
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from jaxtyping import Float

from fedsonar.flower.screen_server import ScreenServer
from fedsonar.measure import BlindReading, blind, gram_by_site
from fedsonar.model import Layout
from fedsonar.model.layout import Site
from fedsonar.screen import Screen, Tables


class _Around(Strategy):  # type: ignore[misc]
    """Does what another strategy does; as with Flower's own wrappers, the other one's `start` is not used."""

    def __init__(self, strategy: Strategy) -> None:
        super().__init__()
        self.strategy = strategy

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As the other strategy's."""
        return self.strategy.configure_train(server_round, arrays, config, grid)  # type: ignore[no-any-return]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """As the other strategy's."""
        return self.strategy.aggregate_train(server_round, replies)  # type: ignore[no-any-return]

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As the other strategy's."""
        return self.strategy.configure_evaluate(server_round, arrays, config, grid)  # type: ignore[no-any-return]

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """As the other strategy's."""
        return self.strategy.aggregate_evaluate(server_round, replies)

    def summary(self) -> None:
        """Logs what it does, and the other strategy's summary."""
        log(INFO, "\t├──> %s", self)
        self.strategy.summary()

    def __str__(self) -> str:
        return type(self).__name__


class WithScreen(_Around):
    """Any strategy, whose clients leave out the rows that a screen flags.

    Before the first round the screen hears all nodes that are connected, and every node judges its own rows. A node
    that comes later, or lost its state, is told what was heard and judges before it trains. A node that gives no
    verdict, or has no row left, is not asked to train.

    Args:
        strategy: Any of Flower's, or one's own.
        screen: The same as in the clients' `ScreenMod`.
        message_type: Of the messages; ``train``, which every app answers, goes through the client's mods.
        options: Of `ScreenServer`: ``timeout``, ``fewest``, ``bound``, ``secure`` and others.

    Attributes:
        rows: Node -> rows that it has left.
        lost: Node -> why it gave no verdict or no summary, the last time that it gave none.

    Example:
        ``strategy = WithScreen(FedAvg(), ResponseNgrams())``.
    """

    def __init__(self, strategy: Strategy, screen: Screen, *, message_type: str = "train", **options: Any) -> None:
        super().__init__(strategy)
        self.screen, self.message_type, self.options = screen, message_type, options
        self.rows: dict[int, int] = {}
        self.lost: dict[int, str] = {}
        self._heard: list[Tables] | None = None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The other strategy's messages, after every node that they go to has judged its rows."""
        messages = list(self.strategy.configure_train(server_round, arrays, config, grid))
        asked = [message.metadata.dst_node_id for message in messages]
        server = ScreenServer(grid=grid, screen=self.screen, message_type=self.message_type, **self.options)
        if self._heard is None:
            nodes = sorted({*grid.get_node_ids(), *asked})
            self._heard = server.hear(nodes)
        else:
            nodes = asked
        nodes = [node for node in nodes if node not in self.rows]
        self.rows |= server.judge(nodes, self._heard)
        self.lost |= server.lost
        for node in asked:
            if node not in self.rows:
                log(WARNING, "node %s does not train, without a verdict: %s", node, self.lost.get(node, "no reply"))
            elif not self.rows[node]:
                log(WARNING, "node %s does not train: the screen leaves it no row", node)
        return [message for message in messages if self.rows.get(message.metadata.dst_node_id)]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """As the other strategy's; a node that failed judges anew before it trains again."""
        found = list(replies)
        for reply in found:
            if reply.has_error():
                self.rows.pop(reply.metadata.src_node_id, None)
        return self.strategy.aggregate_train(server_round, found)  # type: ignore[no-any-return]

    def __str__(self) -> str:
        return f"rows judged by {self.screen}"


class WithBlindGauge(_Around):
    """Any strategy, with BSNR's blind gauge in the metrics of every round; see `fedsonar.measure.blind`.

    A client's update is what it changed. Factors of LoRA, which go by PEFT's names, are taken as products, since only
    these act on the model; all other arrays as they are. The gauge reads what the strategy gets anyway and changes
    nothing. It is none in rounds of fewer than 5 clients.

    Args:
        strategy: Any of Flower's, or one's own.

    Attributes:
        readings: Round -> reading, with the reason where there is none.

    Example:
        ``strategy = WithBlindGauge(FedAvg())``: metrics ``blind-ratio``, above ``blind-alarm`` in about 5 of 100
        rounds of noise.
    """

    def __init__(self, strategy: Strategy) -> None:
        super().__init__(strategy)
        self.readings: dict[int, BlindReading] = {}
        self._start: dict[str, np.ndarray] = {}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As the other strategy's; what clients start from is remembered."""
        self._start = {name: array.numpy() for name, array in arrays.items()}
        return self.strategy.configure_train(server_round, arrays, config, grid)  # type: ignore[no-any-return]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The other strategy's result, and the gauge's reading in its metrics."""
        found = sorted(replies, key=lambda reply: int(reply.metadata.src_node_id))
        updates = [update for reply in found if (update := _update(reply, self._start)) is not None]
        reading = self.readings[server_round] = blind(gram_of_arrays(self._start, updates))
        result, metrics = self.strategy.aggregate_train(server_round, found)
        if not reading.reason:
            metrics = MetricRecord() if metrics is None else metrics
            metrics["blind-ratio"] = reading.ratio
            metrics["blind-alarm"] = reading.limit / reading.edge
        return result, metrics


def gram_of_arrays(
    start: dict[str, np.ndarray], updates: list[dict[str, np.ndarray]]
) -> Float[np.ndarray, "clients clients"]:
    """Inner products of updates in double precision; of LoRA's factors those of their products.

    Args:
        start: What the clients started from, by name; factors as PEFT calls them.
        updates: What each of them changed.
    """
    total = np.zeros((len(updates), len(updates)))
    if not updates:
        return total
    for name, first in start.items():
        partner = name.replace("lora_B", "lora_A")
        if "lora_A" in name and (second := start.get(name.replace("lora_A", "lora_B"))) is not None:
            if first.ndim == second.ndim == 2:
                site = Site(name, first.shape[1], second.shape[0], 0)
                pair = [name, name.replace("lora_A", "lora_B")]
                flat = [torch.from_numpy(np.concatenate([one[part].ravel() for part in pair])) for one in updates]
                begin = torch.from_numpy(np.concatenate([first.ravel(), second.ravel()]))
                layout = Layout((site,), first.shape[0], 1.0)
                total += gram_by_site(layout, begin, torch.stack(flat))[site]
                continue
        elif partner != name and partner in start and first.ndim == start[partner].ndim == 2:
            continue  # counted with its partner
        flat_KD = np.stack([one[name].ravel() for one in updates]).astype(np.float64)
        total += flat_KD @ flat_KD.T
    return total


def _update(reply: Message, start: dict[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """What a client changed; None where its reply holds something else than was asked for."""
    if reply.has_error() or len(reply.content.array_records) != 1:
        return None
    [record] = reply.content.array_records.values()
    if set(record) != set(start):
        return None
    update = {}
    for name, before in start.items():
        array = record[name]
        if array.dtype != str(before.dtype) or tuple(array.shape) != before.shape:
            return None
        update[name] = array.numpy().astype(np.float64) - before
        if update[name].shape != before.shape or not np.isfinite(update[name]).all():
            return None
    return update
