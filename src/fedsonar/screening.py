"""The screen in the loop: who may train on what, and what left each client for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fedsonar.data import Sample, TokenRow
from fedsonar.preparation import Federation, Trainer
from fedsonar.records import Run, SentRecord
from fedsonar.rng import stream
from fedsonar.screen import Features, Oracle, Screen, Silo, Tables, gathered, hear, judge

_SUSPICION, _FLAGGED = "screen.suspicion", "screen.flagged"


class Screening:
    """The rows that clients train on, as an experiment's screen leaves them; all of them where there is no screen.

    Verdicts are kept in the run's state, one number a row over all clients in order, so that a stopped run goes on with
    them.

    Args:
        federation: Whose rows are judged.
        state: Of the run; changed in place.
    """

    def __init__(self, federation: Federation, state: Run) -> None:
        self.federation, self.state = federation, state
        screen = federation.experiment.screen
        self.screen: Screen | None = screen.told(federation.ledger) if isinstance(screen, Oracle) else screen

    def before(self, round: int, adapter: Float[Tensor, "dim"]) -> bool:
        """Judges all rows where that is due, before a round is trained; says whether it was.

        Args:
            round: The round's number.
            adapter: What the round starts from: the model that looks at the rows.
        """
        every = self.federation.experiment.screen_every
        screen = self.screen
        if screen is None or (round > 1 and (every is None or (round - 1) % every)):
            return False
        silos = self._silos(adapter if round > 1 else None)

        def summaries(heard: Sequence[Tables]) -> Iterator[Tables]:
            seed, turn = self.federation.experiment.seed, len(heard) + 1
            for silo in silos:
                noise = stream(seed, "noise", silo.client, round, turn)
                summary = screen.noised(screen.summarize(silo, heard), noise)
                self.state.sent += [
                    SentRecord(
                        round=round, client=silo.client, step=turn, name=name, dtype=str(table.dtype),
                        shape="x".join(map(str, table.shape)), bytes=table.nbytes, additive=screen.additive,
                        epsilon=screen.epsilon,
                    )
                    for name, table in summary.items()
                ]  # fmt: skip
                yield summary

        heard = hear(screen, lambda heard: gathered(screen, summaries(heard)))
        verdicts = [judge(screen, silo, heard) for silo in silos]
        self.state.tensors[_SUSPICION] = torch.from_numpy(np.concatenate([v.suspicion for v in verdicts]))
        self.state.tensors[_FLAGGED] = torch.from_numpy(np.concatenate([v.flagged for v in verdicts]))
        return True

    def _silos(self, adapter: Float[Tensor, "dim"] | None) -> list[Silo]:
        federation, screen = self.federation, self.screen
        assert screen is not None
        return [
            silo_of(client, shard, rows, federation.trainer, screen, adapter)
            for client, (shard, rows) in enumerate(zip(federation.shards, federation.rows, strict=True))
        ]

    def kept(self, client: int, rows: Sequence[TokenRow]) -> list[TokenRow]:
        """Those of a client's rows, or of its twin's, that are not flagged.

        Args:
            client: The client's number.
            rows: As many as the client has, in its order.
        """
        flagged = self.flagged
        if flagged is None:
            return list(rows)
        own = flagged[self._places[client] : self._places[client + 1]]
        return [row for row, out in zip(rows, own, strict=True) if not out]

    @property
    def flagged(self) -> Bool[np.ndarray, "rows"] | None:
        """Which rows left training, over all clients in order; None where nothing was judged."""
        found = self.state.tensors.get(_FLAGGED)
        return None if found is None else found.numpy()

    @property
    def suspicion(self) -> Float[np.ndarray, "rows"] | None:
        """How suspect each row is, likewise."""
        found = self.state.tensors.get(_SUSPICION)
        return None if found is None else found.numpy()

    @cached_property
    def poisoned(self) -> Bool[np.ndarray, "rows"]:
        """The truth, likewise; for measurement."""
        return np.array([row.id in self.federation.ledger for rows in self.federation.rows for row in rows])

    def by_id(self) -> dict[str, tuple[float, bool]]:
        """Id of a judged row -> its suspicion, and whether it was flagged; ids are those of one federation."""
        if self.suspicion is None or self.flagged is None:
            return {}
        ids = [row.id for rows in self.federation.rows for row in rows]
        return dict(zip(ids, zip(self.suspicion.tolist(), self.flagged.tolist(), strict=True), strict=True))

    def poisoned_left(self, client: int) -> int | None:
        """How many poisoned rows a client trains on, for measurement; None where nobody knows."""
        if self.flagged is None:
            return self.federation.poisoned[client]
        own = slice(self._places[client], self._places[client + 1])
        return int((self.poisoned[own] & ~self.flagged[own]).sum())

    @cached_property
    def _places(self) -> list[int]:
        """Where each client's rows begin, and where the last one's end."""
        return [0, *np.cumsum([len(rows) for rows in self.federation.rows]).tolist()]


def silo_of(
    client: int, samples: Iterable[Sample], rows: Sequence[TokenRow], trainer: Trainer, screen: Screen,
    adapter: Float[Tensor, "dim"] | None = None,
) -> Silo:  # fmt: skip
    """A client's rows as a screen sees them: those that fit into the model, in their order.

    Args:
        client: The client's number.
        samples: Its rows; those that do not fit among them.
        rows: Those that fit, in tokens.
        trainer: Made them.
        screen: Gets a model to look through only if it does not read the text alone.
        adapter: In the model; None for the base model alone.
    """
    by_id = {sample.id: sample for sample in samples}
    fitting = [by_id[row.id] for row in rows]
    if screen.text_alone:
        return Silo(client, fitting)
    return Silo(client, fitting, rows, Features(trainer.network, rows, adapter), trainer.tokenize)
