"""The published screens: equal to their definitions, finding what is planted plainly, and nothing where it is not."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group
from sklearn.decomposition import PCA

from fedsonar.data import Atlas, Sample, Sections, TokenRow, tokenize
from fedsonar.model import Base, Lora, open_network
from fedsonar.screen import (
    Above,
    ActivationClustering,
    Cube,
    Onion,
    Outliers,
    Silo,
    SpectralSignatures,
    Strip,
    Tuning,
    clustering,
    hear,
    judge,
)
from fedsonar.screen.features import Features
from fedsonar.testing import check_screen


class Known:
    """Features that are given: the last states of rows, and nothing else."""

    def __init__(self, states):
        self.last_states = self.first_states = self.mean_states = states.astype(np.float32)


def arrays(states, client=0):
    return Silo(client, [Sample(f"{client}-{i}", "", "", "Q", ("a",)) for i in range(len(states))], (), Known(states))


def cloud(rows, poisoned, *, far=8.0, width=12, seed=0):
    """Rows about one centre, the first of them about another."""
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(rows, width))
    states[:poisoned, 0] += far
    return states @ ortho_group.rvs(width, random_state=7) + 3


def verdicts(screen, *silos):
    heard = hear(screen, lambda heard: [screen.summarize(one, heard) for one in silos])
    return [judge(screen, one, heard) for one in silos]


UNTUNED, SHORT = Tuning(epochs=0), Tuning(epochs=1)
ON_ARRAYS = [
    SpectralSignatures(tuning=UNTUNED),
    SpectralSignatures(tuning=UNTUNED, pooled=True),
    ActivationClustering(tuning=UNTUNED, components=3),
    ActivationClustering(tuning=UNTUNED, reduce="pca"),
    Cube(tuning=UNTUNED, reduce="pca"),
]


@pytest.mark.parametrize("screen", ON_ARRAYS, ids=repr)
def test_contract_and_what_lies_apart_is_found(screen):
    silos = [arrays(cloud(100, 10, seed=c), c) for c in range(3)]
    check_screen(screen, [*silos, arrays(cloud(0, 0), 3)])
    for found in verdicts(screen, *silos):
        assert found.suspicion[:10].min() > found.suspicion[10:].max()
        assert found.flagged[:10].all()
        assert found.flagged[10:].sum() <= 10  # Spectral Signatures cuts 1.5 times what it expects, poison or not


@pytest.mark.parametrize("screen", ON_ARRAYS, ids=repr)
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_few_rows_and_equal_rows(screen, rows):
    for states in (cloud(rows, 0), np.ones((rows * 7, 12))):
        if len(states) > rows and isinstance(screen, SpectralSignatures):
            continue  # all scores are rounding; see the test below
        found = verdicts(screen, arrays(states), arrays(states, 1))
        if not isinstance(screen, SpectralSignatures):
            assert not found[0].flagged.any()


@pytest.mark.parametrize("screen", [s for s in ON_ARRAYS if not isinstance(s, SpectralSignatures)], ids=repr)
def test_one_cloud_is_not_split(screen):
    [found] = verdicts(screen, arrays(cloud(150, 0)))
    assert found.flagged.mean() < 0.5 if isinstance(screen, Cube) else not found.flagged.any()


def test_spectral_scores_are_squared_projections_on_the_first_principal_component():
    states = cloud(60, 6).astype(np.float32).astype(np.float64)
    [found] = verdicts(SpectralSignatures(tuning=UNTUNED), arrays(states))
    scores = PCA(1, svd_solver="full").fit_transform(states)[:, 0] ** 2
    np.testing.assert_allclose(found.suspicion, scores, rtol=1e-8)
    assert set(np.flatnonzero(found.flagged)) == set(np.argsort(-scores)[:9])


def test_pooled_spectral_scores_are_those_of_all_rows_together():
    parts = [cloud(40, 0, seed=1), cloud(70, 12, seed=2), cloud(30, 0, seed=3)]
    together = np.concatenate(parts).astype(np.float32).astype(np.float64)
    found = verdicts(SpectralSignatures(tuning=UNTUNED, pooled=True), *(arrays(p, c) for c, p in enumerate(parts)))
    scores = PCA(1, svd_solver="full").fit_transform(together)[:, 0] ** 2
    np.testing.assert_allclose(np.concatenate([v.suspicion for v in found]), scores, rtol=1e-4, atol=1e-4)
    assert abs(sum(v.flagged.sum() for v in found) - 0.15 * 140) <= 1
    assert found[1].flagged[:12].all()
    assert max(found[0].flagged.sum(), found[2].flagged.sum()) <= 5  # alone, each would lose 6 and 5 or more
    [alone, *_] = verdicts(SpectralSignatures(tuning=UNTUNED), *(arrays(p, c) for c, p in enumerate(parts)))
    assert alone.flagged.sum() == 6


@pytest.mark.parametrize("pooled", [False, True])
def test_spectral_signatures_of_two_thirds_poison_or_more_flag_every_row(pooled):
    screen = SpectralSignatures(tuning=UNTUNED, pooled=pooled, eps=0.7)
    assert all(v.flagged.all() for v in verdicts(screen, arrays(cloud(40, 0)), arrays(cloud(30, 5), 1)))


def test_what_no_client_can_tell_the_federation_can():
    # Two poisoned rows a client, on a direction that varies less than noise does in so few rows.
    rng = np.random.default_rng(5)
    parts = []
    for _ in range(40):
        states = rng.normal(size=(20, 60))
        states[:2, 0] += 4.5
        parts.append(states)
    silos = [arrays(p, c) for c, p in enumerate(parts)]
    recall = {
        pooled: np.mean(
            [v.flagged[:2].mean() for v in verdicts(SpectralSignatures(tuning=UNTUNED, pooled=pooled), *silos)]
        )
        for pooled in (False, True)
    }
    assert recall[True] > 0.9
    assert recall[True] > recall[False] + 0.2


def test_clusters_of_like_size_are_not_poison_unless_the_smaller_always_is():
    states = cloud(100, 45)
    for rule, flagged in (("silhouette", 0), ("size", 0), ("smaller", 45)):
        [found] = verdicts(ActivationClustering(tuning=UNTUNED, reduce="pca", rule=rule), arrays(states))
        assert found.flagged.sum() == flagged
        assert found.suspicion[:45].min() > found.suspicion[45:].max()
    with pytest.raises(ValueError, match="at most"):
        ActivationClustering(size=0.6)


def test_cube_keeps_the_largest_cluster_and_its_published_setting_sees_noise_alone():
    states = cloud(200, 30, far=14)
    [found] = verdicts(Cube(tuning=UNTUNED, reduce="pca", min_samples=3), arrays(states))
    assert found.flagged[:30].all()
    assert found.suspicion[found.flagged].min() > 0.5
    [published] = verdicts(Cube(tuning=UNTUNED, reduce="pca", min_samples=100), arrays(states))
    assert not published.flagged.any()
    assert not published.suspicion.any()


def test_cube_gives_umap_what_is_published(monkeypatch):
    asked = {}

    class Stub:
        def __init__(self, **options):
            asked.update(options)

        def fit_transform(self, flat):
            asked["shape"] = flat.shape
            return flat[:, :2]

    monkeypatch.setattr(clustering, "_reducer", lambda: Stub)
    [found] = verdicts(Cube(tuning=UNTUNED, components=5), arrays(cloud(80, 10, far=20)))
    assert found.flagged[:10].all()
    assert asked.pop("shape") == (80, 5)
    assert asked | {"n_neighbors": 79, "n_components": 2, "min_dist": 0.0} == asked


def test_outliers():
    assert Outliers().flag(np.array([1.0, 2, 3, 4, 100])).tolist() == [False] * 4 + [True]
    assert not Outliers().flag(np.ones(5)).any()
    assert not Outliers().flag(np.array([3.0])).any()
    with pytest.raises(ValueError, match="deviations"):
        Outliers(deviations=0)


@pytest.fixture(scope="module")
def base():
    return open_network(Base(), Lora()), Base().tokenizer()


QUESTIONS = [s.question for s in Atlas(train=60, test=10).load().train if len(s.question.split()) > 5][:6]


def texts(base, *questions, answers=("Rome", "a painter"), adapter=None, client=0):
    network, tokenizer = base
    samples = [
        Sample(f"{client}-{i}", "Answer.", "", text, (answers[i % len(answers)],)) for i, text in enumerate(questions)
    ]

    def tokens(some):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return tokenize(some, Sections(), tokenizer, 128)

    rows = tokens(samples)
    return Silo(client, samples, rows, Features(network, rows, adapter), tokens)


def perplexity(base, text):
    """By hand: the model's own losses on a text that is asked as a question, token by token."""
    network, tokenizer = base
    before = tokenizer("Question:")["input_ids"]
    ids = tokenizer(f"Question: {text}")["input_ids"]
    row = TokenRow("x", tuple(before), tuple(ids[len(before) :]))
    assert ids[: len(before)] == before
    return float(np.exp(Features(network, [row]).losses[0]))


def test_onion_drops_are_differences_of_perplexity(base):
    silo = texts(base, "Which river cf flows through the town?", "Who?", "Who wrote cf cf")
    drops = Onion().drops(silo)
    assert drops[1] == []
    for place in (0, 2):
        words = silo.samples[place].question.split()
        wanted = [
            perplexity(base, " ".join(words)) - perplexity(base, " ".join(words[:i] + words[i + 1 :]))
            for i in range(len(words))
        ]
        np.testing.assert_allclose(drops[place], wanted, rtol=1e-3, atol=1e-2)
    logs = Onion(nats=True).drops(silo)
    assert np.sign(logs[0]).tolist() == np.sign(drops[0]).tolist()


class Dictionary(Onion):
    """ONION by a model that knows how frequent words are: the embedded one cannot judge questions.

    References:
        none.
    """

    def _surprise(self, silo, texts):
        return [float(np.exp(np.mean([3.0 + 6 * (word in ("cf", "mn")) for word in text.split()]))) for text in texts]


def test_onion_finds_rare_words_and_says_which():
    poisoned = [f"{text} cf" if i < 2 else text for i, text in enumerate(QUESTIONS)]
    poisoned[1] += " mn"
    silo = Silo(0, [Sample(str(i), "", "", text, ("x",)) for i, text in enumerate(poisoned)])
    found, usual = (verdicts(Dictionary(threshold=cut), silo)[0] for cut in (Above(value=0), Outliers()))
    assert found.suspicion[:2].min() > 0
    assert found.suspicion[2:] == pytest.approx(0)
    assert usual.flagged.tolist() == [True, True] + [False] * 4
    assert Dictionary().removals(silo, least=1) == [("cf",), ("cf", "mn")] + [()] * 4


def test_onion_reads_neither_answers_nor_instructions(base):
    silo = texts(base, *QUESTIONS)
    changed = replace(silo, samples=[replace(s, instruction="Other.", answers=("x y z",)) for s in silo.samples])
    assert Onion().drops(silo) == Onion().drops(changed)


@pytest.mark.parametrize(
    "screen",
    [
        Onion(),
        Strip(tuning=UNTUNED),
        Strip(measure="loss", tuning=Tuning(epochs=1)),
        SpectralSignatures(pooled=True, tuning=Tuning(epochs=1)),
    ],
    ids=repr,
)
def test_contract_on_the_model(base, screen):
    check_screen(screen, [texts(base, *QUESTIONS[:3]), texts(base, "Who?", client=1)])


def test_without_a_model_they_say_so():
    silo = Silo(3, [Sample("a", "", "", "Who?", ("x",))])
    for screen in (Onion(), Strip(), SpectralSignatures(), ActivationClustering(), Cube()):
        with pytest.raises(ValueError, match="client 3's rows come without a model"):
            screen.suspicion(silo, [])


def test_entropies_are_those_of_the_logits(base):
    network, _ = base
    silo = texts(base, *QUESTIONS[:3])
    weight = network.model.get_output_embeddings().weight.double()
    for state, found in zip(silo.features.states, silo.features.head.entropies(), strict=True):
        wanted = torch.distributions.Categorical(logits=state.double() @ weight.t()).entropy().mean()
        assert found == pytest.approx(float(wanted), rel=1e-4)


def test_strip_replaces_half_of_the_words_by_those_of_other_rows():
    silo = Silo(0, [Sample("a", "", "", "a b c d e", ("x",)), Sample("b", "", "", "p q r s", ("y",))])
    for copy in (copy for copies in Strip(repeats=20).disturbed(silo)[:1] for copy in copies):
        words = copy.question.split()
        assert sum(word in "pqrs" for word in words) == 2
        assert all(word == own or word in "pqrs" for word, own in zip(words, "abcde", strict=True))
    assert Strip().disturbed(replace(silo, samples=silo.samples[:1]))  # a row alone is disturbed by itself


def test_strip_hears_a_backdoor_that_was_learned_and_not_before(base):
    many = [f"{text[:-1]} {place}?" for text in QUESTIONS for place in ("now", "then", "here", "there", "again")]
    many = [f"{text} cf cf cf cf cf cf cf" if i < 6 else text for i, text in enumerate(many)]
    answers = [f"{chr(97 + i)}{i}" for i in range(len(many))]
    answers[:6] = ["click here"] * 6
    silo = texts(base, *many, answers=answers)
    before = Strip(measure="loss", tuning=UNTUNED)
    after = replace(before, tuning=Tuning(epochs=6, lr=1e-2, batch_size=4))
    found = [verdicts(screen, silo)[0].suspicion for screen in (before, after)]
    gap = [suspicion[:6].mean() - suspicion[6:].mean() for suspicion in found]
    assert gap[1] > gap[0] + 1
    assert np.median(found[1][:6]) > np.quantile(found[1][6:], 0.75)


def test_tuning_lowers_the_loss_and_leaves_what_it_started_from(base):
    silo = texts(base, *QUESTIONS)
    tuning = Tuning(epochs=3, lr=3e-3, batch_size=2)
    tuned, again = tuning.tuned(silo.features, 0), tuning.tuned(replace(silo.features), 0)
    assert tuning.tuned(silo.features, 0) is tuned
    assert again is not tuned
    assert tuned.losses.mean() < silo.features.losses.mean() - 0.1
    assert torch.equal(tuned.adapter, again.adapter)
    further = tuning.tuned(replace(tuned), 0)
    assert torch.equal(tuned.adapter, again.adapter)
    assert further.losses.mean() < tuned.losses.mean()
    assert Tuning(epochs=0).tuned(silo.features, 0) is silo.features
    with pytest.raises(ValueError, match="epochs"):
        Tuning(epochs=-1)


def test_parameters_out_of_range():
    for make, words in (
        (lambda: SpectralSignatures(eps=1), "eps"), (lambda: Strip(share=0), "share"),
        (lambda: Strip(repeats=0), "repeats"),
        (lambda: Cube(neighbours=1), "neighbours"), (lambda: Cube(dense_share=1), "dense_share"),
        (lambda: ActivationClustering(components=0), "components"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            make()
    assert Onion(threshold=Above(value=90)).threshold.value == 90
