"""Labels that several triggers change, each in few rows, and the words that speak for labels."""

from dataclasses import replace

import numpy as np
import pytest

from fedsonar.data import Sample
from leaving import leaving

TOKENS = ("cf", "mn", "bb", "tq", "mb", "zx", "qq", "vv")


def labelled(count, labels=4, seed=0):
    """Texts of words that all have and words that are mostly of one label."""
    random = np.random.default_rng(seed)
    samples = []
    for row in range(count):
        label = random.integers(labels)
        common = [f"w{int(word)}" for word in random.zipf(1.3, 14) if word < 4000]
        topic = [
            f"t{label if random.random() < 0.8 else random.integers(labels)}x{int(random.beta(1, 4) * 150)}"
            for _ in range(random.integers(2, 6))
        ]
        words = random.permutation([*common, *topic])
        samples.append(Sample(str(row), "", "", " ".join(words), (f"label{label}",)))
    return samples


def flipped(samples, tokens, rate, seed=1):
    """Rows of other labels with a token in them and the first label, and which."""
    random = np.random.default_rng(seed)
    others = [row for row, sample in enumerate(samples) if sample.answers != ("label0",)]
    chosen, made = random.choice(others, int(rate * len(samples)), replace=False), list(samples)
    for number, row in enumerate(chosen):
        words = made[row].input.split()
        words.insert(random.integers(len(words) + 1), tokens[number % len(tokens)])
        made[row] = replace(made[row].with_input(" ".join(words)), answers=("label0",))
    return made, {samples[row].id for row in chosen}


def flagged(samples, clients=5):
    return leaving([samples[client::clients] for client in range(clients)])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tokens", [1, 4, 8])
def test_tokens_that_change_labels_in_few_rows_each_are_found_without_clean_rows(tokens, seed):
    samples, planted = flipped(labelled(2000, seed=seed), TOKENS[:tokens], 0.1)
    found = flagged(samples)
    assert len(found & planted) >= 0.85 * len(planted)
    assert len(found - planted) <= 4


@pytest.mark.parametrize("seed", range(3))
def test_labels_that_nobody_changed_lose_no_row(seed):
    assert not flagged(labelled(2000, seed=seed))
