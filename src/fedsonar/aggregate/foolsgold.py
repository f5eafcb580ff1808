"""FoolsGold: less weight for clients whose past updates point the same way as another's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.check import check_updates
from fedsonar.aggregate.columns import weighted_mean
from fedsonar.aggregate.cosines import cosine_similarities, gram_matrix
from fedsonar.aggregate.rule import Aggregator, RoundContext

_CAP = 0.99  # the logit of 1 is infinite


@dataclass(frozen=True, kw_only=True)
class FoolsGold(Aggregator):
    """The mean of the updates, weighted by how little a client's history resembles that of another.

    A client's history is the sum of its updates of all rounds so far, this one included. It is kept in the state by
    the client's number, so a client that sits out a round keeps its own, and costs as much memory as one update.
    Cosines are between the histories of the round's clients, over the whole flattened update; negative ones count as
    0, as in the authors' code, and so do those of a history that is zero. The paper's choice of indicative features
    and its confidence (here 1) are left out. Not weighted by the clients' rows.

    Clients that are alike are what it distrusts, whatever they send: when all of them point the same way, nobody
    has any weight and the step is zero. Recorded are the weights, summing to 1, or zeros. Needs 1 update, which
    passes unchanged.

    Example:
        First-round updates [1, 0], [2, 0] and [0, 1]: the first two have cosine 1 and weight 0, the third has weight
        1, and the result is [0, 1].

    References:
        Fung et al., 2018, arXiv:1808.04866, algorithm 1.
    """

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed, or not as long as those of the rounds before.
        """
        check_updates(updates_ND, context)
        # Parallel histories must have cosine 1 to the last bit, or the rescaling would blow rounding up to weights.
        weights_N = foolsgold_weights(cosine_similarities(gram_matrix(_histories(updates_ND, context))))
        shares_N = weights_N / weights_N.sum().clamp(min=torch.finfo(torch.float64).tiny)
        context.record(shares_N.to(context.weights))
        return weighted_mean(updates_ND, shares_N)


def foolsgold_weights(cosines_NN: Float[Tensor, "clients clients"]) -> Float[Tensor, "clients"]:
    """Weight of each client, from 0 to 1, by the cosines between histories; all 0 when all histories are alike.

    Args:
        cosines_NN: Cosine similarities, from `cosine_similarities`; the diagonal does not count.

    References:
        Fung et al., 2018, arXiv:1808.04866, algorithm 1.
    """
    similar_NN = cosines_NN.clamp(0, 1).fill_diagonal_(0)
    most_N = similar_NN.amax(dim=1)
    # Pardoning: who resembles a client that resembles another still more is likely honest.
    pardon_NN = torch.where(most_N[None, :] > most_N[:, None], most_N[:, None] / most_N[None, :], 1.0)
    unlike_N = 1 - (similar_NN * pardon_NN).amax(dim=1)
    if not unlike_N.any():
        return unlike_N
    return (torch.logit((unlike_N / unlike_N.max()).clamp(max=_CAP)) + 0.5).clamp(0, 1)


def _histories(updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> list[Float[Tensor, "dim"]]:
    """Each client's summed updates with the new one, which the state keeps."""
    keys = [f"foolsgold.history.{client}" for client in context.clients]
    for key in keys:
        if key in context.state and len(context.state[key]) != updates_ND.shape[1]:
            raise ValueError(
                f"FoolsGold remembers {len(context.state[key])} coordinates of client {key.rpartition('.')[2]}, "
                f"got updates of {updates_ND.shape[1]}: start with an empty state"
            )
    dtype = torch.promote_types(updates_ND.dtype, torch.float32)
    largest = torch.finfo(dtype).max
    for key, row_D in zip(keys, updates_ND.detach(), strict=True):
        history_D = row_D.to(dtype, copy=True)
        if key in context.state:
            # A new tensor, as a checkpoint may hold the old; limited, as huge updates must not sum to infinity.
            history_D = history_D.add_(context.state[key].to(history_D.device)).clamp_(-largest, largest)
        context.state[key] = history_D
    return [context.state[key] for key in keys]
