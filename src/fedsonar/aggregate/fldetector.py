"""FLDetector: drops the clients whose updates are not what their past and the model's curvature predict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fedsonar.aggregate.check import check_updates
from fedsonar.aggregate.columns import column_slices, weighted_mean
from fedsonar.aggregate.kept import kept_weights
from fedsonar.aggregate.rule import Aggregator, RoundContext

_STEPS = "fldetector.steps"  # the last window + 1 results, the oldest first
_PREVIOUS = "fldetector.previous"  # the last round's updates, and whose they are:
_CLIENTS = "fldetector.clients"
_ERRORS = "fldetector.errors"  # .<client>: its last `window` prediction errors
_NUM_REFERENCES = 10  # random rounds of scores that the gap statistic compares with, as in the authors' code
_ROUNDING = 1e-9  # scores that spread less than this part of their size differ by rounding alone
_LEAST_SPREAD = 1e-12  # keeps the logarithm of the spread of equal values finite


@dataclass(frozen=True, kw_only=True)
class FLDetector(Aggregator):
    """The weighted mean without the clients whose updates are hard to predict from their previous ones.

    An honest client's update should be its previous update plus ``H (w_t - w_{t-1})``, where the product with the
    Hessian H comes from L-BFGS on the last `window` global steps ``s_k`` and changes of the global update ``y_k`` from
    one step to the next. (Updates point downhill, so H is that of minus the loss; the formulas are the same.) A
    client's error in a round is its L2 distance from that prediction, over the mean error of the round's clients; its
    score is the mean of its last `window` errors. If the gap statistic says that the scores form more than one group,
    they are split in two, and the group of the higher mean is dropped from this round; the others are averaged with
    the context's weights. In one dimension the best split (2-means) is found exactly, by trying all. The paper starts
    training anew without the dropped clients; here everyone is judged again in the next round.

    A prediction needs ``window + 1`` steps before it, so the first ``window + 1`` rounds are the weighted mean, and so
    are all rounds of a shorter run. A client that was not in the round before has no prediction: it keeps the score
    of its earlier errors, and without any it is averaged unjudged.

    Global steps and global updates are both this rule's results, so the state is ``window + 1`` vectors, the last
    round's updates and a few errors a client. Steps of zero are left out of the window, and a singular system is
    solved on its range only (pseudo-inverse).

    Args:
        window: Steps that the curvature is taken from, and errors that a score is the mean of; at least 1.

    Example:
        Four clients always send 1, and a fifth sends 1 and -1 in turn: its prediction is off by about 2 each round,
        the others' by less than 1. From round ``window + 2`` on it is dropped, and the result is 1.

    Raises:
        ValueError: If window is not positive.

    References:
        Zhang et al., 2022, arXiv:2207.09209 (suspicious scores, gap statistics and k-means); L-BFGS: Byrd et al., 1994,
        theorem 2.3; gap statistic: Tibshirani et al., 2001, section 3.
    """

    window: int = 10

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"FLDetector needs window >= 1 steps, got window={self.window}")

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed, or the kept clients weigh nothing.
        """
        check_updates(updates_ND, context)
        kept_N = torch.ones(len(updates_ND), dtype=torch.bool)
        steps_KD = context.state.get(_STEPS, updates_ND.new_empty(0, updates_ND.shape[1]))
        if steps_KD.shape[1] != updates_ND.shape[1]:
            raise ValueError(
                f"FLDetector remembers steps of {steps_KD.shape[1]} coordinates, got updates of "
                f"{updates_ND.shape[1]}: start with an empty state"
            )
        if len(steps_KD) > self.window:
            self._note_errors(updates_ND, steps_KD[-self.window - 1 :], context)
            histories = [context.state.get(f"{_ERRORS}.{client}") for client in context.clients]
            judged = [row for row, history in enumerate(histories) if history is not None]
            scores_J = np.array([history.mean().item() for history in histories if history is not None])
            kept_N[judged] = torch.from_numpy(~suspects(scores_J, context.generator))
        weights_N = kept_weights(context, kept_N)
        context.record(weights_N.to(context.weights.dtype))
        step_D = weighted_mean(updates_ND, weights_N)
        context.state[_STEPS] = torch.cat([steps_KD[-self.window :].to(step_D), step_D.detach()[None]])
        context.state[_PREVIOUS] = updates_ND.detach().clone()
        context.state[_CLIENTS] = torch.tensor(list(context.clients))
        return step_D

    def _note_errors(
        self, updates_ND: Float[Tensor, "clients dim"], steps_KD: Float[Tensor, "steps dim"], context: RoundContext
    ) -> None:
        """Adds this round's error to the history of each client that was in the round before."""
        previous_ND = context.state[_PREVIOUS]
        rows_before = {client: row for row, client in enumerate(context.state[_CLIENTS].tolist())}
        rows = [row for row, client in enumerate(context.clients) if client in rows_before]
        before = [rows_before[context.clients[row]] for row in rows]
        product_K = hessian_product(steps_KD).numpy()
        squares_R = np.zeros(len(rows))
        with np.errstate(all="ignore"):
            for columns in column_slices(updates_ND.shape[1]):
                drift_C = product_K @ _numpy(steps_KD[:, columns])
                off_RC = _numpy(updates_ND[:, columns][rows]) - _numpy(previous_ND[:, columns][before]) - drift_C
                squares_R += np.einsum("rc,rc->r", off_RC, off_RC)
            errors_R = np.sqrt(squares_R)
            mean = errors_R.mean() if rows else 0.0
        # Perfect predictions tell nobody apart, and neither do those that overflowed.
        errors_R = errors_R / mean if 0 < mean < np.inf else np.ones(len(rows))
        for row, error in zip(rows, errors_R, strict=True):
            key = f"{_ERRORS}.{context.clients[row]}"
            history = context.state.get(key, torch.empty(0, dtype=torch.float64))
            context.state[key] = torch.cat([history, torch.tensor([error])])[-self.window :].clone()


def hessian_product(steps_KD: Float[Tensor, "steps dim"]) -> Float[Tensor, "steps"]:
    """``B v`` for the last step v and the L-BFGS matrix B of all pairs of steps, as coefficients of the steps.

    With ``s_k`` the k-th step and ``y_k`` the next minus it, ``B = sigma I - [sigma S, Y] M^-1 [sigma S, Y]^T``, where
    ``M = [[sigma S^T S, L], [L^T, -D]]``, D is the diagonal and L what lies below it of ``S^T Y``, and sigma is
    ``s.y / s.s`` of the newest pair. All that is needed of the steps is their products with each other.

    Args:
        steps_KD: Global steps, the oldest first.
    """
    num_pairs = len(steps_KD) - 1
    # Rows of S, of Y and the vector v, each as a sum of steps.
    eye_KK = np.eye(num_pairs + 1)
    parts_ZK = np.concatenate([eye_KK[:-1], eye_KK[1:] - eye_KK[:-1], eye_KK[-1:]])
    gram_ZZ = np.zeros((len(parts_ZK), len(parts_ZK)))
    for columns in column_slices(steps_KD.shape[1]):
        piece_ZC = parts_ZK @ _numpy(steps_KD[:, columns])
        gram_ZZ += piece_ZC @ piece_ZC.T
    norms_P = np.sqrt(gram_ZZ.diagonal()[:num_pairs])
    used = np.flatnonzero(norms_P > 0)
    rows_Z = np.concatenate([used, num_pairs + used, [2 * num_pairs]])
    with np.errstate(all="ignore"):
        # Pairs are scaled to steps of length 1, which leaves B as it is and the system well conditioned.
        scales_Z = np.concatenate([1 / norms_P[used], 1 / norms_P[used], [1.0]])
        gram_ZZ = gram_ZZ[np.ix_(rows_Z, rows_Z)] * np.outer(scales_Z, scales_Z)
    # Steps that differ by more than float64's range tell no curvature.
    if len(used) == 0 or not np.isfinite(gram_ZZ).all():
        return torch.zeros(len(steps_KD), dtype=torch.float64)
    inner_PP, cross_PP = gram_ZZ[: len(used), : len(used)], gram_ZZ[: len(used), len(used) : -1]
    sigma, lower_PP = cross_PP[-1, -1], np.tril(cross_PP, -1)
    system = np.block([[sigma * inner_PP, lower_PP], [lower_PP.T, -np.diag(cross_PP.diagonal())]])
    factors = np.repeat([sigma, 1.0], len(used))
    with np.errstate(all="ignore"):
        solution = np.linalg.pinv(system, rcond=1e-12, hermitian=True) @ (factors * gram_ZZ[:-1, -1])
        coefficients_Z = np.append(-factors * solution, sigma) * scales_Z
        return torch.from_numpy(coefficients_Z @ parts_ZK[rows_Z])


def suspects(scores_N: Float[np.ndarray, "clients"], generator: torch.Generator) -> Bool[np.ndarray, "clients"]:
    """Which scores are in the higher of two groups; none when the gap statistic finds but one group.

    Scores are scaled to [0, 1] and compared with uniform random ones: there is more than one group when
    ``Gap(1) < Gap(2) - s_2``, where Gap(k) is how much smaller the logarithm of the spread within the best k groups is
    than for random scores, and ``s_2`` its error.
    """
    low, high = scores_N.min(initial=np.inf), scores_N.max(initial=-np.inf)
    if not high - low > _ROUNDING * high:
        return np.zeros(len(scores_N), dtype=bool)
    scaled_N = (scores_N - low) / (high - low)
    random_RN = torch.rand(_NUM_REFERENCES, len(scores_N), generator=generator, dtype=torch.float64).numpy()
    one_R, two_R, _ = _spreads(random_RN)
    one, two, cuts = _spreads(scaled_N[None])
    error = two_R.std() * np.sqrt(1 + 1 / _NUM_REFERENCES)
    if one_R.mean() - one[0] >= two_R.mean() - two[0] - error:
        return np.zeros(len(scores_N), dtype=bool)
    higher_N: Bool[np.ndarray, "clients"] = scaled_N >= cuts[0]
    return higher_N


def _spreads(
    values_RN: Float[np.ndarray, "rounds clients"],
) -> tuple[Float[np.ndarray, "rounds"], Float[np.ndarray, "rounds"], Float[np.ndarray, "rounds"]]:
    """Logarithms of the squared deviations within one and within the best two groups, and the higher group's least.

    Groups of numbers that fit best lie side by side, so each place between two sorted numbers is tried.
    """
    sorted_RN = np.sort(values_RN, axis=1)
    n = sorted_RN.shape[1]
    total_R1 = sorted_RN.sum(axis=1, keepdims=True)
    left_RM, sizes_M = np.cumsum(sorted_RN, axis=1)[:, :-1], np.arange(1, n)
    squares_R1 = (sorted_RN**2).sum(axis=1, keepdims=True)
    one_R1 = squares_R1 - total_R1**2 / n
    two_RM = squares_R1 - left_RM**2 / sizes_M - (total_R1 - left_RM) ** 2 / (n - sizes_M)
    best_R1 = two_RM.argmin(axis=1)[:, None]
    two_R1 = np.take_along_axis(two_RM, best_R1, axis=1)
    logs = [np.log(np.maximum(spread_R1[:, 0], _LEAST_SPREAD)) for spread_R1 in (one_R1, two_R1)]
    return logs[0], logs[1], np.take_along_axis(sorted_RN, best_R1 + 1, axis=1)[:, 0]


def _numpy(piece: Float[Tensor, "rows cols"]) -> Float[np.ndarray, "rows cols"]:
    """A piece of a matrix in float64."""
    return piece.detach().to("cpu", torch.float64).numpy()
