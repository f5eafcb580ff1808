from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsonar.data import IID, BySource, Dirichlet, InstructionDataset, Sample
from fedsonar.rng import stream


def dataset(sources, answers=None):
    answers = answers or ["a"] * len(sources)
    rows = zip(sources, answers, strict=True)
    return InstructionDataset(
        "rows", tuple(Sample(f"id-{i}", "", "", f"q{i}", (answer,), source) for i, (source, answer) in enumerate(rows))
    )


@dataclass(frozen=True, kw_only=True)
class Unchecked(Dirichlet):
    """Takes any argument, as outside the tests, where annotations are not enforced."""


def ids(shards):
    return [[sample.id for sample in shard] for shard in shards]


def cycled(rows, classes=4):
    return dataset([str(i % classes) for i in range(rows)])


@settings(deadline=None)
@given(
    kind=st.sampled_from(["iid", "dirichlet", "source", "dealt"]),
    clients=st.integers(1, 8),
    alpha=st.floats(1, 100),
    sources=st.lists(st.sampled_from("abcdefgh"), min_size=8, max_size=60).filter(lambda names: len(set(names)) > 1),
    seed=st.integers(0, 1000),
)
def test_laws(kind, clients, alpha, sources, seed):
    partitioner = {
        "iid": IID(clients=clients),
        "dirichlet": Dirichlet(clients=clients, alpha=alpha),
        "source": BySource(),
        "dealt": BySource(clients=min(clients, len(set(sources)))),
    }[kind]
    data = dataset(sources)
    shards = partitioner.split(data, stream(seed, "partition"))
    assert len(shards) == (partitioner.clients or len(set(sources)))
    assert all(len(shard) for shard in shards)
    order = {sample.id: place for place, sample in enumerate(data)}
    assert sorted(order[name] for shard in ids(shards) for name in shard) == list(range(len(data)))
    assert all(sample == data[order[sample.id]] for shard in shards for sample in shard)
    assert all(shard == sorted(shard, key=order.__getitem__) for shard in ids(shards))
    assert [shard.name for shard in shards] == [f"rows/client-{client}" for client in range(len(shards))]
    assert partitioner.split(data, stream(seed, "partition")) == shards


@pytest.mark.parametrize(("rows", "sizes"), [(None, [3, 2, 2]), (2, [2, 2, 2]), (5, [3, 2, 2])])
def test_iid_sizes(rows, sizes):
    shards = IID(clients=3, rows=rows).split(cycled(7), stream(0, "partition"))
    assert [len(shard) for shard in shards] == sizes
    assert len({name for shard in ids(shards) for name in shard}) == sum(sizes)


def test_iid_depends_on_the_generator_and_mixes_the_rows():
    data = cycled(40)
    shards = IID(clients=2).split(data, stream(0, "partition"))
    assert shards != IID(clients=2).split(data, stream(1, "partition"))
    assert ids(shards)[0] != [sample.id for sample in data][:20]


def skew(shards):
    """Mean share of each client's most frequent class."""
    return np.mean([max(Counter(sample.source for sample in shard).values()) / len(shard) for shard in shards])


def test_dirichlet_small_alpha_is_skewed_and_large_alpha_is_not():
    data = cycled(1000, classes=5)
    assert skew(Dirichlet(clients=5, alpha=0.05).split(data, stream(0, "partition"))) > 0.6
    even = Dirichlet(clients=5, alpha=1e6).split(data, stream(0, "partition"))
    assert skew(even) < 0.22
    assert all(abs(len(shard) - 200) <= 10 for shard in even)


def test_dirichlet_gives_each_class_by_one_draw_within_one_row():
    class Drawn(np.random.Generator):
        """A generator whose proportions and rounding offsets are known."""

        def permutation(self, rows):
            return np.arange(rows)

        def dirichlet(self, alpha, size):
            assert alpha.tolist() == [2.0, 2.0, 2.0]
            assert size == 2
            return np.array([[0.5, 0.3, 0.2], [0.0, 0.25, 0.75]])

        def random(self, shape):
            return np.full(shape, 0.5)

    data = dataset(list("aaaaaaaaaabbbbbb"))
    shards = Dirichlet(clients=3, alpha=2.0).split(data, Drawn(np.random.PCG64()))
    # a: 10 rows cut at floor(10 * (.5, .8) + .5) = 5, 8; b: 6 rows cut at floor(6 * (0, .25) + .5) = 0, 2
    counts = [Counter(sample.source for sample in shard) for shard in shards]
    assert counts == [{"a": 5}, {"a": 3, "b": 2}, {"a": 2, "b": 4}]


def test_dirichlet_spreads_classes_of_one_row():
    data = dataset(["x"] * 2000, [f"answer {i}" for i in range(2000)])
    sizes = [len(shard) for shard in Dirichlet(clients=4, over="answer").split(data, stream(0, "partition"))]
    # each row goes to each of 4 clients with chance 1/4: standard deviation sqrt(2000 * 3/16) = 19.4
    assert all(abs(size - 500) < 4 * 19.4 for size in sizes)


def test_dirichlet_over_answer_takes_the_first_answer_as_class():
    answers = ["yes", "no"] * 100
    data = dataset(["x"] * 200, answers)
    shards = Dirichlet(clients=2, alpha=0.01, over="answer").split(data, stream(3, "partition"))
    majority = sum(max(Counter(sample.answers[0] for sample in shard).values()) for shard in shards)
    assert majority >= 195


def test_dirichlet_redraws_until_every_client_has_min_rows():
    data = cycled(100, classes=5)
    shards = Dirichlet(clients=5, alpha=0.1, min_rows=5).split(data, stream(0, "partition"))
    assert min(len(shard) for shard in shards) >= 5
    assert any(
        min(len(shard) for shard in Dirichlet(clients=5, alpha=0.1).split(data, stream(seed, "partition"))) < 5
        for seed in range(10)
    )


def test_dirichlet_gives_up():
    with pytest.raises(
        ValueError, match=r"1000 draws with alpha=0.001 left a client below min_rows=10 \(100 rows, 10 clients\); raise"
    ):
        Dirichlet(clients=10, alpha=0.001, min_rows=10).split(cycled(100), stream(0, "partition"))


def test_by_source_numbers_clients_in_numeric_order():
    shards = BySource().split(dataset(["10", "b", "2", "10", "a"]), stream(0, "partition"))
    assert ids(shards) == [["id-2"], ["id-0", "id-3"], ["id-4"], ["id-1"]]


def test_by_source_deals_whole_sources():
    data = cycled(70, classes=7)
    shards = BySource(clients=3).split(data, stream(0, "partition"))
    held = [{sample.source for sample in shard} for shard in shards]
    assert [len(sources) for sources in held] == [3, 2, 2]
    assert set.union(*held) == set("0123456")
    assert any(BySource(clients=3).split(data, stream(seed, "partition")) != shards for seed in (1, 2))


@pytest.mark.parametrize(
    ("partitioner", "sources", "message"),
    [
        (IID(clients=5), "abc", "clients=5 is more than the 3 rows of 'rows'"),
        (IID(clients=1), "", "clients=1 is more than the 0 rows of 'rows'"),
        (Dirichlet(clients=5), "abc", "clients=5 is more than the 3 rows of 'rows'"),
        (Dirichlet(clients=2, min_rows=2), "abc", "clients=2 with 2 rows each is more than the 3 rows of 'rows'"),
        (Dirichlet(clients=2), "aaa", "Dirichlet over source needs two values or more, but every row has 'a'"),
        (Dirichlet(clients=2, over="answer"), "abc", "Dirichlet over answer needs two values or more, but every"),
        (BySource(), ["", ""], "BySource needs two values or more, but every row has ''; set source_field, or use IID"),
        (BySource(), "", "BySource needs two values or more, but there are no rows"),
        (BySource(clients=4), "abcab", "clients=4 is more than the 3 sources of 'rows'"),
    ],
)
def test_impossible_splits(partitioner, sources, message):
    with pytest.raises(ValueError, match=message):
        partitioner.split(dataset(list(sources)), stream(0, "partition"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IID(clients=0), "clients=0 must be 1 or more"),
        (lambda: IID(rows=0), "rows=0 leaves clients without rows"),
        (lambda: Dirichlet(clients=-1), "clients=-1 must be 1 or more"),
        (lambda: Dirichlet(alpha=0.0), "alpha=0.0 must be above 0"),
        (lambda: Dirichlet(alpha=float("nan")), "alpha=nan must be above 0"),
        (lambda: Dirichlet(alpha=float("inf")), "alpha=inf must be above 0 and at most 1e6"),
        (lambda: Unchecked(over="client"), "over='client' is unknown; use source or answer"),
        (lambda: Dirichlet(min_rows=0), "min_rows=0 leaves clients without rows"),
        (lambda: BySource(clients=0), "clients=0 must be 1 or more"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
