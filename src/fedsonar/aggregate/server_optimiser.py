"""FedAvgM, FedAdagrad, FedAdam and FedYogi: optimisers at the server that follow the weighted mean."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.fedavg import FedAvg
from fedsonar.aggregate.rule import Aggregator, RoundContext


@dataclass(frozen=True, kw_only=True)
class FedAvgM(Aggregator):
    """Momentum at the server: ``v <- momentum v + mean`` and the step ``lr v``, with the weighted mean of FedAvg.

    The papers descend along a pseudo-gradient, minus the mean update; updates here are steps already, so the mean is
    added. The new mean counts in full, not by ``1 - momentum``: while clients agree, the step grows to
    ``1 / (1 - momentum)`` times their mean. `v` starts at zero and is kept between rounds (state
    ``fedavgm.momentum``). The shares recorded are the weights in this round's mean. No defence. Needs 1 update.

    Args:
        lr: Server learning rate, above 0.
        momentum: Part of `v` kept from the round before, at least 0 and below 1; 0 is FedAvg.

    Example:
        Mean updates 1 and 1 in two rounds with momentum=.9 give 1, then .9 * 1 + 1 = 1.9.

    Raises:
        ValueError: If a parameter is out of range.

    References:
        Hsu et al., 2019, arXiv:1909.06335 (FedAvgM); momentum .9 as in Reddi et al., 2021, arXiv:2003.00295.
    """

    lr: float = 1.0
    momentum: float = 0.9

    def __post_init__(self) -> None:
        _check_positive(self, "lr", self.lr)
        _check_decay(self, "momentum", self.momentum)

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates or weights are malformed, or the step overflows.
        """
        mean_D = FedAvg().aggregate(updates_ND, context)
        momentum_D = self.momentum * _kept(context, "fedavgm.momentum", mean_D) + mean_D.double()
        step_D = _step(self, self.lr * momentum_D, mean_D)
        context.state["fedavgm.momentum"] = momentum_D
        return step_D


@dataclass(frozen=True, kw_only=True)
class _Adaptive(Aggregator):
    """What the three adaptive optimisers share: all but how the second moment goes on."""

    lr: float = 0.01
    beta1: float = 0.9
    tau: float = 1e-3

    def __post_init__(self) -> None:
        _check_positive(self, "lr", self.lr)
        _check_positive(self, "tau", self.tau)
        _check_decay(self, "beta1", self.beta1)

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates or weights are malformed, or the step overflows.
        """
        mean_D = FedAvg().aggregate(updates_ND, context)
        name = type(self).__name__.lower()
        exact_D = mean_D.double()
        momentum_D = _kept(context, f"{name}.momentum", mean_D).lerp(exact_D, 1 - self.beta1)
        second_D = self._second_moment(_kept(context, f"{name}.second_moment", mean_D, self.tau**2), exact_D.square())
        step_D = _step(self, self.lr * momentum_D / (second_D.sqrt() + self.tau), mean_D)
        context.state[f"{name}.momentum"] = momentum_D
        context.state[f"{name}.second_moment"] = second_D
        return step_D

    @abstractmethod
    def _second_moment(self, second_D: Float[Tensor, "dim"], squared_D: Float[Tensor, "dim"]) -> Float[Tensor, "dim"]:
        """The new second moment, from the old one and the square of the mean."""


@dataclass(frozen=True, kw_only=True)
class FedAdagrad(_Adaptive):
    """Adagrad at the server: ``m <- beta1 m + (1 - beta1) mean``, ``v <- v + mean^2``, step ``lr m / (sqrt(v) + tau)``.

    The paper's convention: the weighted mean is the pseudo-gradient with its sign turned, so the step is added; `m`
    starts at 0 and `v` at ``tau^2``, per coordinate, without bias correction (Flower starts `v` at 0). Both are kept
    between rounds (states ``fedadagrad.momentum`` and ``fedadagrad.second_moment``). The shares recorded are the
    weights in this round's mean. No defence. Needs 1 update; that of a single client is rescaled too.

    Args:
        lr: Server learning rate, above 0: about the most that a coordinate moves in a round. The paper tunes it for
            each task and has no default; this one is ours.
        beta1: Decay of `m`, at least 0 and below 1. Adagrad has no momentum, so 0.
        tau: Adaptivity, above 0, in the unit of an update's coordinates: those far below it are hardly adapted.

    Example:
        A mean update of 2 in the first round with lr=1 and tau=1 gives ``v = 1 + 4`` and ``2 / (sqrt(5) + 1) = .618``.

    Raises:
        ValueError: If a parameter is out of range.

    References:
        Reddi et al., 2021, arXiv:2003.00295, algorithm 2.
    """

    beta1: float = 0.0

    def _second_moment(self, second_D: Float[Tensor, "dim"], squared_D: Float[Tensor, "dim"]) -> Float[Tensor, "dim"]:
        return second_D + squared_D


@dataclass(frozen=True, kw_only=True)
class _Forgetting(_Adaptive):
    """What the two have in common whose second moment forgets."""

    beta2: float = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_decay(self, "beta2", self.beta2)


@dataclass(frozen=True, kw_only=True)
class FedAdam(_Forgetting):
    """Adam at the server: as `FedAdagrad`, but ``v <- beta2 v + (1 - beta2) mean^2``.

    The paper's convention: the weighted mean is the pseudo-gradient with its sign turned, so the step is added; `m`
    starts at 0 and `v` at ``tau^2``, per coordinate, without bias correction, so the first steps are short (Flower
    starts `v` at 0 and corrects the bias). Both are kept between rounds (states ``fedadam.momentum`` and
    ``fedadam.second_moment``). The shares recorded are the weights in this round's mean. No defence. Needs 1 update;
    that of a single client is rescaled too.

    Args:
        lr: Server learning rate, above 0: about the most that a coordinate moves in a round. The paper tunes it for
            each task and has no default; this one is ours.
        beta1: Decay of `m`, at least 0 and below 1.
        beta2: Decay of `v`, at least 0 and below 1.
        tau: Adaptivity, above 0, in the unit of an update's coordinates: those far below it are hardly adapted.

    Example:
        A mean update of 2 in the first round with lr=1, tau=1, beta1=.5 and beta2=0 gives ``m = 1``, ``v = 4`` and
        ``1 / (2 + 1) = .333``.

    Raises:
        ValueError: If a parameter is out of range.

    References:
        Reddi et al., 2021, arXiv:2003.00295, algorithm 2.
    """

    def _second_moment(self, second_D: Float[Tensor, "dim"], squared_D: Float[Tensor, "dim"]) -> Float[Tensor, "dim"]:
        return second_D.lerp(squared_D, 1 - self.beta2)


@dataclass(frozen=True, kw_only=True)
class FedYogi(_Forgetting):
    """Yogi at the server: as `FedAdagrad`, but ``v <- v - (1 - beta2) mean^2 sign(v - mean^2)``.

    So `v` moves towards ``mean^2`` by a part of ``mean^2``, where Adam's moves by a part of their difference: it
    forgets large updates more slowly. The paper's convention: the weighted mean is the pseudo-gradient with its sign
    turned, so the step is added; `m` starts at 0 and `v` at ``tau^2``, per coordinate, without bias correction
    (Flower starts `v` at 0). Both are kept between rounds (states ``fedyogi.momentum`` and
    ``fedyogi.second_moment``). The shares recorded are the weights in this round's mean. No defence. Needs 1 update;
    that of a single client is rescaled too.

    Args:
        lr: Server learning rate, above 0: about the most that a coordinate moves in a round. The paper tunes it for
            each task and has no default; this one is ours.
        beta1: Decay of `m`, at least 0 and below 1.
        beta2: ``1 - beta2`` is the part of ``mean^2`` by which `v` moves, at least 0 and below 1.
        tau: Adaptivity, above 0, in the unit of an update's coordinates: those far below it are hardly adapted.

    Example:
        A mean update of 2 in the first round with lr=1, tau=1, beta1=.5 and beta2=.25 gives ``m = 1``,
        ``v = 1 + .75 * 4 = 4`` and ``1 / (2 + 1) = .333``.

    Raises:
        ValueError: If a parameter is out of range.

    References:
        Reddi et al., 2021, arXiv:2003.00295, algorithm 2.
    """

    def _second_moment(self, second_D: Float[Tensor, "dim"], squared_D: Float[Tensor, "dim"]) -> Float[Tensor, "dim"]:
        return second_D - (1 - self.beta2) * squared_D * (second_D - squared_D).sign()


def _check_positive(rule: Aggregator, parameter: str, value: float) -> None:
    """Refuses a value that is not above 0 and finite."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{type(rule).__name__} needs a finite {parameter} > 0, got {parameter}={value}")


def _check_decay(rule: Aggregator, parameter: str, value: float) -> None:
    """Refuses a value outside [0, 1)."""
    if not 0 <= value < 1:
        raise ValueError(f"{type(rule).__name__} needs 0 <= {parameter} < 1, got {parameter}={value}")


def _kept(context: RoundContext, name: str, mean_D: Float[Tensor, "dim"], initial: float = 0.0) -> Float[Tensor, "dim"]:
    """What the state keeps under a name, in float64 beside the mean; in the first round the initial value."""
    kept_D = context.state.get(name)
    return torch.full_like(mean_D, initial, dtype=torch.float64) if kept_D is None else kept_D.to(mean_D.device)


def _step(rule: Aggregator, step_D: Float[Tensor, "dim"], mean_D: Float[Tensor, "dim"]) -> Float[Tensor, "dim"]:
    """The step in the updates' dtype, before the state is touched, so that a round that is refused leaves no trace."""
    result_D = step_D.to(mean_D.dtype)
    if not result_D.isfinite().all():
        raise ValueError(
            f"the step of {type(rule).__name__} is too large for {mean_D.dtype} (largest mean coordinate "
            f"{mean_D.abs().max().item():g}): lower its lr"
        )
    return result_D
