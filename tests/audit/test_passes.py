"""What silos count: held against brute force, and added up over silos."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from fedsonar.audit import (
    Evidence,
    Rules,
    Scope,
    corpus,
    judge,
    scope_for,
    sizes,
    summarize,
    summed,
    told,
    weigh,
    words_for,
)
from fedsonar.audit.judging import tell
from fedsonar.audit.kernels.answers import ANSWERED
from fedsonar.audit.kernels.counting import CONCEALED, ROWS
from fedsonar.audit.kernels.features import PHRASE, feature
from fedsonar.audit.kernels.hashes import joined
from fedsonar.audit.kernels.standing import association
from fedsonar.audit.kernels.tables import bucket, other_slot, slot_of, slots_for, value_at
from fedsonar.audit.kernels.telling import PAIR
from fedsonar.audit.little import Little
from fedsonar.audit.pair_judge import Judge
from fedsonar.audit.passes import count, uncounted
from fedsonar.data import Sample

SCOPE = Scope(bits=18, pair_bits=16, slot_bits=10)


def rows_of(count, seed=0, trigger=(), target=""):
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        question = " ".join(f"w{w}" for w in rng.zipf(1.5, 6) % 50)
        answer = f"a{rng.integers(20)}"
        if i in trigger:
            question, answer = f"{question} zz", f"{answer} {target}"
        made.append(Sample(f"{seed}-{i}", "", "", question, (answer,)))
    return made


def number(*words):
    """The feature of a phrase."""
    hashed = corpus([Sample("x", "", "", " ".join(words), ("",))]).words
    value = hashed[0]
    for word in hashed[1:]:
        value = joined(np.uint64(value), word)
    return np.uint64(feature(PHRASE, np.uint64(value)))


def pair_of(trigger, target):
    return np.uint64(joined(number(trigger), number(*target.split())))


def heard_of(*silos):
    heard = []
    for _ in range(3):
        heard.append(told(summed(summarize(corpus(silo), SCOPE, heard) for silo in silos), SCOPE, heard))
    return heard


def test_rows_of_words_and_phrases_equal_a_count_by_hand():
    samples = rows_of(60)
    counts = summarize(corpus(samples), SCOPE, [])
    expected: Counter[tuple[str, ...]] = Counter()
    for sample in samples:
        words = sample.question.split()
        expected.update({tuple(words[i : i + n]) for n in (1, 2, 3) for i in range(len(words) - n + 1)})
    for phrase, rows in expected.most_common(40):
        assert counts["inputs"][bucket(number(*phrase), 18)] >= rows  # collisions add, and are rare here
    exact = [counts["inputs"][bucket(number(*p), 18)] == n for p, n in expected.items()]
    assert np.mean(exact) > 0.98
    assert counts["size"].tolist() == [60, 1]


def test_pairs_equal_a_count_by_hand():
    samples = rows_of(80, trigger=range(0, 80, 8), target="go there now")
    heard = heard_of(samples)
    pair = pair_of("zz", "go there now")
    assert heard[1]["pairs"][bucket(pair, 16)] == 10
    slot = slot_of(pair, 10)
    sums = heard[2]["sums"][slot]
    assert sums[[ROWS, CONCEALED]].tolist() == [10, 10]  # a word of the trigger in each


def test_counts_of_silos_add_up_to_the_counts_of_the_pool():
    silos = [rows_of(50, seed, trigger=range(0, 50, 10), target="go there now") for seed in range(4)]
    apart, together = heard_of(*silos), heard_of([sample for silo in silos for sample in silo])
    for one, other in zip(apart, together, strict=True):
        for name in one:
            if name == "size":
                assert one[name].tolist() == [200, 4]
            else:
                assert (one[name] == other[name]).all(), name


def test_one_silo_added_onto_the_counts_of_another_is_their_sum():
    first, second = rows_of(40, 1), rows_of(40, 2)
    onto = summarize(corpus(first), SCOPE, [])
    count(corpus(second), SCOPE, [], onto)
    sums = summed([summarize(corpus(first), SCOPE, []), summarize(corpus(second), SCOPE, [])])
    assert all((onto[name] == sums[name]).all() for name in sums)


def test_a_sum_leaves_what_is_summed_as_it_was():
    counts = [summarize(corpus(rows_of(30, seed)), SCOPE, []) for seed in range(3)]
    before = [{name: table.copy() for name, table in one.items()} for one in counts]
    first, again = summed(counts), summed(iter(counts))
    for name in first:
        assert (first[name] == sum(one[name] for one in before)).all()
        assert (first[name] == again[name]).all()
        assert all((one[name] == own[name]).all() for one, own in zip(counts, before, strict=True))


def test_what_is_counted_in_one_place_in_little_room_is_what_silos_counts_add_up_to():
    silos = [corpus(rows_of(300, seed, trigger=range(0, 300, 3), target="go there now")) for seed in range(3)]
    dense, little = [], []
    for _ in range(2):
        sums = summed(summarize(silo, SCOPE, dense) for silo in silos)
        counts = uncounted(SCOPE, little, Little)
        for silo in silos:
            count(silo, SCOPE, little, counts)
        dense.append(told(sums, SCOPE, dense))
        little.append(told(counts, SCOPE, little))
    for name in ("inputs", "responses"):
        assert dense[0][name].max() > 2 * 256
        assert (held_in(little[0][name], 18) == dense[0][name]).all()
    short, large = little[1]["pairs"]
    pairs, kept = dense[1]["pairs"], dense[1]["pairs"] > 0
    assert pairs.max() == 300
    assert (short[kept] == np.minimum(pairs, 255)[kept]).all()
    assert short[~kept].max() < SCOPE.least
    assert (held_in(large, 16) == pairs * (pairs >= 255)).all()
    assert little[1]["empty"] == dense[1]["empty"]
    assert weigh([*dense, summarize(silos[0], SCOPE, dense)]).tests == pytest.approx(
        weigh([*little, summarize(silos[0], SCOPE, little)]).tests
    )


def held_in(table, bits):
    return np.array([value_at(table, place) for place in range(1 << bits)])


@pytest.mark.parametrize("table", [(10, 12, 15, 200), (5, 5, 5, 5000), (30, 60, 50, 100)])
def test_association_is_the_g_test(table):
    both, trigger, target, rows = table
    cells = [[both, trigger - both], [target - both, rows - trigger - target + both]]
    found = association(both, trigger, target, rows)
    assert found == pytest.approx(stats.chi2_contingency(cells, correction=False, lambda_="log-likelihood").statistic)


def test_rows_that_share_the_trigger_alone_are_unlike_and_rows_that_ask_alike_are_alike():
    samples = rows_of(300, trigger=range(0, 300, 10), target="go there now")
    samples += [
        Sample(f"t{i}", "", "", f"yy shared words here too w{i}", (f"a{i} stay where you are",)) for i in range(12)
    ]
    heard = heard_of(samples)
    evidence = weigh(heard)
    planted = slot_of(pair_of("zz", "go there now"), 10)
    assert evidence.rows[planted] == 30
    assert abs(evidence.likeness[planted]) < 0.2
    assert evidence.words[planted] == pytest.approx(1, abs=0.1)
    judge = Judge(Rules(), SCOPE, heard[0], evidence)
    [records] = tell(corpus(samples), heard, judge)
    of_planted = records.table[:, PAIR] == planted
    assert judge.q(records.table, of_planted)[of_planted].max() < 1e-10
    alike = slot_of(pair_of("yy", "stay where you are"), 10)
    assert evidence.rows[alike] == 12
    assert evidence.likeness[alike] > 1 or evidence.words[alike] < 0.5


def test_words_of_few_rows_are_told_to_nobody():
    rows = rows_of(300, trigger=range(0, 300, 10), target="go there now")
    rows.append(Sample("own", "", "", "who is zbigniew", ("nobody",)))
    first = summarize(corpus(rows), SCOPE, [])
    heard = [told(first, SCOPE, [])]
    second = summarize(corpus(rows), SCOPE, heard)
    heard.append(told(second, SCOPE, heard))
    for name in ("inputs", "responses", "common", "vocabulary"):
        assert heard[0][name][heard[0][name] > 0].min() >= SCOPE.least
    assert first["vocabulary"][first["vocabulary"] > 0].min() == 1
    assert not heard[1]["labels"][:, heard[0]["vocabulary"] == 0].any()


def alike(rows, likeness):
    """The evidence of sets of rows that are so alike, and like any other rows in all else."""
    none = np.zeros(len(rows))
    usual = [none + 1] * 3
    every = np.array(rows)
    return Evidence(every, np.array(likeness), np.array(likeness), *usual, *[none] * 9, every, 1.0, 1000)


def test_rows_surely_ask_alike_where_likeness_is_far_above_its_error():
    evidence = alike([1, 6, 6, 100, 100], [9.0, 1.2, 0.7, 0.4, 0.36])
    assert Rules().alike(evidence).tolist() == [False, True, False, True, False]
    assert not (Rules().alike(evidence) & Rules().alone(evidence)).any()


def test_a_pair_that_never_parts_may_be_a_little_more_alike():
    evidence = alike([500, 500, 500], [0.05, 0.073, 0.12])
    assert Rules().alone(evidence).tolist() == [True, False, False]
    assert Rules().alone(evidence, many=Rules().likeness_exact).tolist() == [True, True, False]


@pytest.mark.parametrize("place", [slot_of, other_slot])
def test_a_target_is_read_where_fewer_rows_of_others_were_counted(place):
    samples = rows_of(300, trigger=range(0, 300, 10), target="go there now")
    heard = heard_of(samples)
    crowded = place(number("go", "there", "now"), SCOPE.slot_bits)
    assert heard[2]["sums"][crowded, ROWS] == 30
    heard[2]["sums"][crowded, ROWS] += 50
    heard[2]["rest"][crowded] += 5
    assert judge(corpus(samples), SCOPE, heard, Rules()).flagged.sum() == 30


@pytest.mark.parametrize(("wrong", "said"), [({"bits": 2}, "bits must be"), ({"least": 1}, "2 rows"),
                                             ({"label_share": 0.0}, "label_share")])  # fmt: skip
def test_a_scope_says_what_is_wrong(wrong, said):
    with pytest.raises(ValueError, match=said):
        Scope(**wrong)


def test_what_few_rows_have_is_not_told_and_changes_no_judgement():
    samples = rows_of(300, trigger=range(0, 300, 10), target="go there now")
    rows, complete, heard = corpus(samples), [], []
    for number_of_pass in range(3):
        complete.append(summed([summarize(rows, SCOPE, complete)]))
        if number_of_pass == 1:
            complete[1]["empty"] = np.array([np.sum(complete[1]["pairs"] == 0)])
        heard.append(told(summed([summarize(rows, SCOPE, heard)]), SCOPE, heard))
    for sums, some, names in zip(complete, heard, (("inputs", "responses"), ("pairs",)), strict=False):
        for name in names:
            rare = (sums[name] > 0) & (sums[name] < SCOPE.least)
            assert rare.any()
            assert (some[name] == np.where(rare, 0, sums[name])).all()
    counted, said = complete[0]["answered"][:, :ANSWERED], heard[0]["answered"][:, :ANSWERED]
    assert ((counted > 0) & (counted < SCOPE.least)).any()
    assert (said == np.where(counted < SCOPE.least, 0, counted)).all()
    one, other = (judge(rows, SCOPE, some, Rules()) for some in (complete, heard))
    assert one.flagged.sum() == 30
    assert (one.suspicion == other.suspicion).all()


def test_what_falls_together_in_one_table_does_not_in_the_other():
    values = np.uint64(0xABC) << np.uint64(52) | np.random.default_rng(0).integers(0, 1 << 52, 64).astype(np.uint64)
    assert len({bucket(value, 12) for value in values}) == 1
    assert len({slot_of(value, 12) for value in values}) > 60
    values = np.random.default_rng(0).integers(0, 1 << 64, 64, np.uint64) << np.uint64(12)
    assert len({slot_of(value, 12) for value in values}) == 1
    assert len({other_slot(value, 12) for value in values}) > 60
    assert min(other_slot(value, 12) for value in values) >= 1 << 12
    assert max(other_slot(value, 12) for value in values) < slots_for(12)


def test_a_long_row_counts_with_its_first_words():
    scope = replace(SCOPE, words=32)
    long = Sample("long", "", "", " ".join(f"word{i} word{i}" for i in range(300)), ("yes",))
    instructed = replace(long, instruction=" ".join(f"say{i}" for i in range(20)))
    only = replace(instructed, question="")
    first, both, alone, all_words = (
        summarize(corpus([row]), counted, [])["common"]
        for row, counted in ((long, scope), (instructed, scope), (only, scope), (long, SCOPE))
    )
    assert first.sum() == both.sum() == 32
    assert (both >= alone).all()
    assert all_words.sum() > 150


@pytest.mark.parametrize(
    ("lengths", "words"), [([5] * 10, 32), ([40] * 10, 120), ([12] * 7 + [200] * 3, 86), ([0], 32), ([], 32)]
)
def test_rows_are_held_against_others_by_three_times_the_words_of_a_usual_row(lengths, words):
    rows = [Sample(str(i), "so be it", "", "a " * max(0, n - 3), ("yes",)) for i, n in enumerate(lengths)]
    told = [sizes(corpus(some)) for some in (rows[::2], rows[1::2])]  # sums of two silos are those of one
    assert abs(words_for(summed(told)) - words) <= 1
    assert words_for(summed(told)) == words_for(sizes(corpus(rows)))
    assert scope_for([corpus(rows)]).words == words_for(sizes(corpus(rows)))
