"""Everything an experiment needs before its first round: poisoned shards in tokens, the model, the examiner."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import cached_property

from fedsonar.data import InstructionDataset, Ledger, Sample, Source, Splits, TokenRow, template_for, tokenize
from fedsonar.engine import Engine, FusedEngine
from fedsonar.errors import of_configuration
from fedsonar.experiment import Experiment
from fedsonar.measure import Examiner
from fedsonar.model import Base, Layout, Lora, Network, open_network
from fedsonar.poison import plant
from fedsonar.rng import stream
from fedsonar.screen import Oracle
from fedsonar.server import check_clients


class Loaded:
    """What runs of one process can share: the data and the base model that were loaded last."""

    def __init__(self) -> None:
        self._splits: tuple[Source, Splits] | None = None
        self._network: tuple[tuple[Base, Lora, bool], Network] | None = None

    def splits(self, source: Source) -> Splits:
        """The source's rows, loaded anew when it is another source than last time."""
        if self._splits is None or self._splits[0] != source:
            self._splits = source, source.load()
        return self._splits[1]

    def network(self, base: Base, lora: Lora, *, checkpointing: bool) -> Network:
        """The network of a base model and an adapter; see `open_network`."""
        wanted = base, lora, checkpointing
        if self._network is None or self._network[0] != wanted:
            self._network = None  # before the next one takes its memory
            self._network = wanted, open_network(base, lora, checkpointing=checkpointing)
        return self._network[1]


class Trainer:
    """What training takes, besides rows: all that a client alone needs of an experiment.

    Args:
        experiment: Names base model, adapter, template and training.
        loaded: What the trainer shares with others before and after it.
    """

    def __init__(self, experiment: Experiment, loaded: Loaded | None = None) -> None:
        self.experiment, loaded = experiment, loaded or Loaded()
        self.tokenizer = experiment.base.tokenizer()
        self.network = loaded.network(experiment.base, experiment.lora, checkpointing=experiment.training.checkpointing)
        self.layout = self.network.layout
        _note_rank(self.layout)
        self.template = experiment.template or template_for(self.tokenizer)
        limit = getattr(self.network.model.config, "max_position_embeddings", None) or experiment.max_length
        self.max_length = min(experiment.max_length, limit)

    def tokenize(self, samples: Iterable[Sample]) -> list[TokenRow]:
        """The samples in tokens, without those that do not fit; see `fedsonar.data.tokenize`."""
        return tokenize(samples, self.template, self.tokenizer, self.max_length)

    @cached_property
    def engine(self) -> Engine:
        """The engine that trains in process."""
        return FusedEngine(
            self.network, self.experiment.training, seed=self.experiment.seed, pass_tokens=self.experiment.pass_tokens,
            freeze_a=self.experiment.space == "freeze-a",
        )  # fmt: skip


class Federation:
    """Everything an experiment needs before its first round, prepared once.

    Args:
        experiment: What to prepare.
        loaded: What the federation shares with others before and after it.

    Raises:
        ConfigError: If data, model and attack do not fit together; says what to change.
        OSError, ValueError: If the data cannot be read.
    """

    def __init__(self, experiment: Experiment, loaded: Loaded | None = None) -> None:
        self.experiment, loaded = experiment, loaded or Loaded()
        splits = loaded.splits(experiment.data)
        with of_configuration():
            self._prepare(splits, loaded)

    def _prepare(self, splits: Splits, loaded: Loaded) -> None:
        experiment, seed = self.experiment, self.experiment.seed
        shards = experiment.partition.split(splits.train, stream(seed, "partition"))
        _check_counts(experiment, len(shards))
        self.shards: tuple[InstructionDataset, ...] = shards
        self.ledger = Ledger()
        if experiment.attack is not None:
            self.shards, self.ledger = plant(shards, experiment.attack, seed)
        self._prepare_server(splits.test, Trainer(experiment, loaded))
        every = self.trainer.tokenize(s for shard in self.shards for s in shard)
        by_id = {row.id: row for row in every}
        self.rows: list[list[TokenRow]] = [[by_id[s.id] for s in shard if s.id in by_id] for shard in self.shards]
        for client, rows in enumerate(self.rows):
            if not rows:
                raise ValueError(f"none of client {client}'s rows fits into {self.max_length} tokens; raise max_length")
        self.poisoned: list[int | None] = [sum(row.id in self.ledger for row in rows) for rows in self.rows]

    def _prepare_server(self, test: InstructionDataset, trainer: Trainer) -> None:
        """What the server has: test rows, some of which rule or repair train on, and the model.

        Raises:
            ValueError: If rule or repair want such rows, and none of them fits into the model.
        """
        self.trainer = trainer
        self.tokenizer, self.network, self.layout = trainer.tokenizer, trainer.network, trainer.layout
        self.template, self.max_length = trainer.template, trainer.max_length
        root, clean = _server_rows(self.experiment, len(test))
        self.root: list[TokenRow] = trainer.tokenize(test[i] for i in sorted(root))
        self.clean: list[TokenRow] = trainer.tokenize(test[i] for i in sorted(clean))
        for wanted, fitting in ((root, self.root), (clean, self.clean)):
            if wanted and not fitting:
                whose = f"none of the server's {len(wanted)} clean rows"
                raise ValueError(f"{whose} fits into {self.max_length} tokens; raise max_length")
        self._test = [sample for i, sample in enumerate(test) if i not in root | clean]

    @cached_property
    def examiner(self) -> Examiner:
        """What examines the global model; a client has no use for it."""
        experiment = self.experiment
        return Examiner(
            self.network, self.tokenizer, template=self.template, test=self._test, attack=experiment.attack,
            options=experiment.evaluation, max_length=self.max_length, seed=experiment.seed,
        )  # fmt: skip

    @property
    def engine(self) -> Engine:
        """The engine that trains this federation's clients in process."""
        return self.trainer.engine

    @cached_property
    def twins(self) -> dict[int, list[TokenRow]]:
        """The affected clients' rows with the clean originals of poisoned ones in their places; empty without twins.

        Rows that the attack added beside poisoned ones stay: they are clean.

        Raises:
            ValueError: If an original is longer than the poisoned row that fitted, and fits no more.
        """
        if not self.experiment.bsnr.twins:
            return {}
        originals = self.trainer.tokenize(planted.original for planted in self.ledger.values())
        by_id = {row.id: row for row in originals}
        for client, rows in enumerate(self.rows):
            for row in rows:
                if row.id in self.ledger and row.id not in by_id:
                    raise ValueError(
                        f"client {client} has no twin: without the attack, its row {row.id} is longer than "
                        f"{self.max_length} tokens; raise max_length or set bsnr.twins to false"
                    )
        return {
            client: [by_id[row.id] if row.id in self.ledger else row for row in rows]
            for client, rows in enumerate(self.rows) if self.poisoned[client]
        }  # fmt: skip

    def participants(self, round: int) -> list[int]:
        """The clients of a round, in order of their numbers."""
        count = self.experiment.clients_per_round or len(self.rows)
        return sorted(map(int, stream(self.experiment.seed, "participants", round).permutation(len(self.rows))[:count]))


class Coordination(Federation):
    """A federation as its server alone sees it: so many clients, whose rows nobody else knows, and test rows.

    Nothing is planted, and nothing is known of what clients hold: of the backdoor's signal there is the blind reading
    alone. An attack in the experiment only says what the model is asked in every examination.

    Args:
        experiment: What to prepare; of its data, the test rows.
        clients: How many clients there are.
        loaded: What the federation shares with others before and after it.

    Raises:
        ConfigError: If the experiment wants what a server cannot know, or more clients a round than there are.
        OSError, ValueError: If the data cannot be read.
    """

    def __init__(self, experiment: Experiment, clients: int, loaded: Loaded | None = None) -> None:
        self.experiment, loaded = experiment, loaded or Loaded()
        with of_configuration():
            self._check(clients)
        self.shards, self.ledger = (), Ledger()
        self.rows = [[] for _ in range(clients)]
        self.poisoned = [None] * clients
        test = loaded.splits(experiment.data).test
        with of_configuration():
            self._prepare_server(test, Trainer(experiment, loaded))

    def _check(self, clients: int) -> None:
        """Returns when so many clients can do what the experiment asks for."""
        experiment = self.experiment
        _check_counts(experiment, clients)
        if experiment.bsnr.twins:
            raise ValueError(
                "bsnr.twins trains affected clients again without their poisoned rows, which no server of a "
                "deployment knows; set bsnr.twins to false"
            )
        if isinstance(experiment.screen, Oracle):
            raise ValueError(
                "Oracle flags the rows that were poisoned, which nobody knows in a deployment; use Sonar, or leave "
                "screen out"
            )
        if experiment.screen_every is not None:
            raise ValueError("clients of a deployment judge their rows once, before they train; leave screen_every out")


def _check_counts(experiment: Experiment, clients: int) -> None:
    """Returns when there are clients enough for a round, for its least number of updates, and for the rule."""
    if experiment.clients_per_round > clients:
        raise ValueError(f"clients_per_round {experiment.clients_per_round} is more than the {clients} clients")
    asked = experiment.clients_per_round or clients
    if experiment.min_updates is not None and experiment.min_updates > asked:
        raise ValueError(f"min_updates {experiment.min_updates} is more than the {asked} clients of a round")
    check_clients(experiment.aggregator, asked)


def _note_rank(layout: Layout) -> None:
    """Says of a rank that exceeds all adapted weights that it only costs time and memory."""
    most = max(min(site.in_features, site.out_features) for site in layout.sites)
    if layout.rank > most:
        warnings.warn(
            f"lora.r is {layout.rank:,}, and no adapted weight has a rank above {most:,}: the adapter's "
            f"{layout.dim:,} numbers a client say no more than with r={most:,}",
            UserWarning,
            stacklevel=4,
        )


def _server_rows(experiment: Experiment, num_test: int) -> tuple[set[int], set[int]]:
    """The test rows that the server trains on: every round where the rule wants that, and for a repair at the end."""
    rule, repair = experiment.aggregator, experiment.repair
    wanted = {f"{type(rule).__name__} takes {rule.root_rows}": (rule.root_rows, "root_rows")}
    if repair is not None:
        wanted[f"{type(repair).__name__} takes {repair.clean_rows}"] = (repair.clean_rows, "clean_rows")
    asked = {words: name for words, (count, name) in wanted.items() if count}
    if sum(count for count, _ in wanted.values()) >= num_test:
        raise ValueError(
            f"{' and '.join(asked)} clean rows for the server out of the test rows, of which there are {num_test}; "
            f"bring more test rows or lower {' or '.join(asked.values())}"
        )
    order = list(map(int, stream(experiment.seed, "root").permutation(num_test)))
    end = rule.root_rows + (repair.clean_rows if repair is not None else 0)
    return set(order[: rule.root_rows]), set(order[rule.root_rows : end])
