"""GradSentry, GraCeFul and ProtegoFed: beside their definitions computed plainly, and on poison in the Atlas."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.fft import dctn
from sklearn.cluster import AgglomerativeClustering
from sklearn.decomposition import PCA

from fedsonar.data import IID, Atlas
from fedsonar.experiment import Experiment
from fedsonar.measure import detection
from fedsonar.poison import Attack, Short
from fedsonar.preparation import Federation
from fedsonar.screen import Features, GraCeFul, GradSentry, ProtegoFed, Silo, Valley, hear, judge
from fedsonar.screen.clustering import dense_clusters, largest, principal_scores, silhouette, umap
from fedsonar.screen.features import Part
from fedsonar.testing import check_screen


def silos(**changes):
    experiment = replace(
        Experiment(data=Atlas(train=160, test=20), partition=IID(clients=2), attack=Attack()), **changes
    )
    federation = Federation(experiment)
    by_id = {sample.id: sample for shard in federation.shards for sample in shard}
    made = [
        Silo(client, [by_id[row.id] for row in rows], rows, Features(federation.network, rows))
        for client, rows in enumerate(federation.rows)
    ]
    return made, [np.array([row.id in federation.ledger for row in rows]) for rows in federation.rows]


@pytest.fixture(scope="module")
def poisoned():
    return silos()


def found(screen, case):
    some, truth = case
    heard = hear(screen, lambda heard: [screen.summarize(silo, heard) for silo in some])
    verdicts = [judge(screen, silo, heard) for silo in some]
    return detection(*(np.concatenate(parts) for parts in (
        [v.suspicion for v in verdicts], [v.flagged for v in verdicts], truth
    )))  # fmt: skip


@pytest.mark.parametrize("screen", [GradSentry(), GradSentry(pooled=True), GraCeFul()], ids=repr)
def test_contract(screen, poisoned):
    some, _ = poisoned
    check_screen(screen, [*some, Silo(2, (), (), Features(some[0].features.network, ()))])


def test_entropy_is_that_of_the_corners_singular_values(poisoned):
    silo = poisoned[0][0]
    mine = GradSentry().suspicion(silo, [])
    head = silo.features.head
    for value, gradient in list(zip(mine, head.whole(Part("corner")), strict=True))[:10]:
        spectrum = np.linalg.svd(gradient.astype(np.float64), compute_uv=False)[:16]
        shares = spectrum / spectrum.sum()
        shares = shares[shares > 0]
        assert value == pytest.approx(-(shares * np.log(shares)).sum() / math.log(16), abs=1e-5)


def test_no_entropy_is_above_that_of_the_responses_length(poisoned):
    for silo in poisoned[0]:
        lengths = np.array([len(row.response) for row in silo.rows])
        assert (GradSentry().suspicion(silo, []) <= np.log(np.minimum(lengths, 16)) / math.log(16) + 1e-9).all()


def test_grad_sentry_finds_long_targets_and_misses_short_ones(poisoned):
    long, short = found(GradSentry(), poisoned), found(GradSentry(), silos(attack=Attack(target=Short())))
    assert long.auc.value > 0.97
    assert short.auc.value < long.auc.value - 0.05


def test_pooled_every_client_cuts_at_the_federations_valley(poisoned):
    screen = GradSentry(pooled=True)
    heard = hear(screen, lambda heard: [screen.summarize(silo, heard) for silo in poisoned[0]])
    every = np.concatenate([screen.suspicion(silo, []) for silo in poisoned[0]])
    assert heard[0]["cut"][0] == pytest.approx(Valley().cut(every, np.ones(len(every))), abs=0.01)
    for silo in poisoned[0]:
        verdict = judge(screen, silo, heard)
        assert (verdict.flagged == (verdict.suspicion > heard[0]["cut"][0])).all()


def test_graceful_parts_rows_as_the_corners_themselves_do(poisoned):
    """The published way, with every row's corner built: transform, crop, PCA, standardise, agglomerate."""
    silo = poisoned[0][0]
    corners = []
    for gradient in silo.features.head.whole(Part()):
        frequencies = dctn(gradient.astype(np.float64), norm="ortho")
        rows, columns = frequencies.shape
        corners.append(frequencies[: rows // 8, : columns // 8].reshape(-1))
    scores = PCA(32, svd_solver="full").fit_transform(np.stack(corners))
    scores = (scores - scores.mean(0)) / scores.std(0)
    labels = AgglomerativeClustering(2, metric="cosine", linkage="average").fit_predict(scores)
    expected = labels != np.bincount(labels).argmax()
    assert (judge(GraCeFul(), silo, []).flagged == expected).mean() >= 0.98  # a tie may fall the other way


def test_graceful_finds_what_is_planted(poisoned):
    scores = found(GraCeFul(), poisoned)
    assert scores.recall.value > 0.9
    assert scores.auc.value > 0.9


def test_protego_feds_centre_is_the_mean_of_the_largest_cluster(poisoned):
    screen, silo = ProtegoFed(), poisoned[0][0]
    features = screen._features(silo)
    sent = screen.summarize(silo, [])
    assert set(sent) == {"centre"}
    assert sent["centre"].shape == features[0].shape
    inside = largest(screen._dense(features))
    assert np.allclose(sent["centre"], features[inside].mean(0))


def test_protego_fed_drops_the_cluster_that_the_centre_is_not_in():
    """Two heaps of gradients that part well, the smaller one in a client alone."""

    class Given:
        def __init__(self, gradients):
            self.gradients = gradients

        def value_gradients(self, *, rank, seed):
            return self.gradients

    rng, size = np.random.default_rng(0), (6, 4)
    clean, bad = rng.normal(size=size), rng.normal(size=size)

    def client(number, good, poisoned):
        heaps = [base + 0.05 * rng.normal(size=(count, *size)) for base, count in ((clean, good), (bad, poisoned))]
        return Silo(number, [None] * (good + poisoned), [None] * (good + poisoned), Given(np.concatenate(heaps)))

    some = [client(c, 60, 12) for c in range(9)] + [client(9, 20, 50)]  # the last one is mostly poison
    screen = ProtegoFed()
    heard = hear(screen, lambda heard: [screen.summarize(silo, heard) for silo in some])
    for silo, good in zip(some, [60] * 9 + [20], strict=True):
        assert judge(screen, silo, heard).flagged.tolist() == [False] * good + [True] * (len(silo.samples) - good)


@pytest.mark.parametrize("count", [1, 9])
@pytest.mark.parametrize("screen", [GradSentry(), GraCeFul(), ProtegoFed()], ids=lambda s: type(s).__name__)
def test_few_rows_and_equal_rows_are_judged_too(screen, count, poisoned):
    whole = poisoned[0][0]
    for rows in (list(range(count)), [0] * count):
        samples = [replace(whole.samples[i], id=f"{n}") for n, i in enumerate(rows)]
        tokens = [replace(whole.rows[i], id=f"{n}") for n, i in enumerate(rows)]
        silo = Silo(0, samples, tokens, Features(whole.features.network, tokens))
        heard = hear(screen, lambda heard, silo=silo: [screen.summarize(silo, heard)])
        verdict = judge(screen, silo, heard)
        assert len(verdict.flagged) == count
        if count < 8 and not isinstance(screen, GradSentry):
            assert not verdict.flagged.any()


def test_principal_scores_are_scikit_learns():
    rows = np.random.default_rng(0).normal(size=(30, 50))
    mine, theirs = principal_scores(rows @ rows.T, 5), PCA(5, svd_solver="full").fit_transform(rows)
    assert np.allclose(np.abs(mine), np.abs(theirs), atol=1e-8)
    assert principal_scores(np.ones((4, 4)), 3).shape == (4, 0)


def test_clusters():
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(0, 0.1, (40, 5)) + 1, rng.normal(0, 0.1, (15, 5)) - 1])
    labels = dense_clusters(umap(rows, 10), least=5)
    assert largest(labels).tolist() == [True] * 40 + [False] * 15
    assert silhouette(rows, labels) > 0.8
    assert np.isnan(silhouette(rows, np.zeros(55, dtype=int)))
    assert largest(np.array([-1, -1, -1, 0, 0])).tolist() == [False, False, False, True, True]
    assert largest(np.array([-1, -1])).all()
