"""Gradients by the output layer's weights without a backward pass, in the factors that they are made of.

With a row's errors e_t = softmax(logits_t) - onehot(y_t) and what the output layer reads h_t, the gradient of its mean
loss over T response tokens is ``G = (1 / T) sum_t e_t h_t^T``, vocabulary by width, and of rank T at most. So its
singular values are those of T by T matrices, and products of two gradients are sums of products of their factors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedsonar.model.pieces import wide

_SCORES = 2**23
"""About so many errors are held at a time."""
_TILE = 2048
"""Scores of so many of the vocabulary's tokens are made at a time, where only their sum is asked for."""


@dataclass(frozen=True)
class Part:
    """Which part of a gradient is looked at.

    Args:
        kind: ``all`` of it, the ``corner`` of its first rows and columns, or its ``low`` frequencies: the corner of its
            two-dimensional discrete cosine transform.
        fraction: One over which share of rows and of columns a corner has.
    """

    kind: Literal["all", "corner", "low"] = "all"
    fraction: int = 8

    def of(self, numbers: np.ndarray) -> np.ndarray:
        """The part's share of vectors that lie along the last axis."""
        if self.kind == "all":
            return numbers
        if self.kind == "low":
            from scipy.fft import dct  # it takes a tenth of a second to load

            numbers = dct(numbers, type=2, norm="ortho", axis=-1)
        return numbers[..., : self.share(numbers.shape[-1])]

    def share(self, count: int) -> int:
        """How many of so many numbers."""
        return count if self.kind == "all" else max(1, count // self.fraction)

    def read(self, count: int) -> int:
        """How many of so many numbers, the first of them, are all that it is made of."""
        return self.share(count) if self.kind == "corner" else count


class HeadGradients:
    """The output layer's gradients of many rows, each of its row's mean loss.

    Args:
        states: What the output layer reads where each row's response tokens are predicted.
        labels: Those response tokens.
        weight: The output layer's.
        bias: Likewise, where it has one.
    """

    def __init__(
        self, states: Sequence[Float[Tensor, "_ width"]], labels: Sequence[Sequence[int]],
        weight: Float[Tensor, "vocabulary width"], bias: Float[Tensor, "vocabulary"] | None = None,
    ) -> None:  # fmt: skip
        exact = wide(weight.dtype)
        self.lengths = np.array([len(part) for part in states], dtype=int)
        self.states = torch.cat([weight.new_zeros(0, weight.shape[1]), *states]).to(exact)
        flat = [label for own in labels for label in own]
        self.labels = torch.tensor(flat, dtype=torch.long, device=weight.device)
        self.weight, self.bias = weight.to(exact), None if bias is None else bias.to(exact)

    def losses(self) -> Float[np.ndarray, "rows"]:
        """Each row's mean loss, in nats a token."""
        return self._means(lambda scores, labels: scores.logsumexp(-1) - scores.gather(1, labels[:, None])[:, 0])

    def entropies(self) -> Float[np.ndarray, "rows"]:
        """The mean entropy of what the model expects at each row's response tokens, in nats a token."""

        def entropy(scores: Tensor, _: Tensor) -> Tensor:
            logs = scores.log_softmax(-1)
            return -(logs.exp() * logs).sum(-1)

        return self._means(entropy)

    @torch.no_grad()
    def _means(self, of: Callable[[Tensor, Tensor], Tensor]) -> Float[np.ndarray, "rows"]:
        """Each row's mean over its response tokens of what scores and labels give."""
        # Written where they stay: small tensors kept between large ones leave holes that these do not fit into.
        found, most = np.empty(len(self.labels)), self._most()
        for start in range(0, len(self.labels), most):
            some = slice(start, start + most)
            found[some] = of(self._scores(self.states[some]), self.labels[some]).cpu().numpy()
        return np.asarray(np.add.reduceat(found, self._starts) / self.lengths)

    @torch.no_grad()
    def by_states(self) -> Float[np.ndarray, "rows width"]:
        """The gradient of each row's loss by what the output layer reads, summed over its response's tokens.

        ``sum_t W^T e_t``: where a row pulls what the model is about to say. All rows end alike, so that the end token
        is left out unless it is all that there is.
        """
        found = np.zeros((len(self.lengths), self.weight.shape[1]), np.float32)
        counted = np.maximum(self.lengths - 1, 1)
        rows = np.repeat(np.arange(len(counted)), counted)
        tokens = self._starts[rows] + np.arange(len(rows)) - (np.cumsum(counted) - counted)[rows]
        for some in _blocks(counted, self._most()):
            own = slice(*np.searchsorted(rows, [some.start, some.stop]))
            errors = self._errors(torch.from_numpy(tokens[own]))
            # Tokens are summed before the product, which is then one of rows.
            sums = errors.new_zeros(some.stop - some.start, errors.shape[1])
            sums.index_add_(0, torch.from_numpy(rows[own] - some.start).to(errors.device), errors)
            found[some] = (sums @ self.weight).cpu().numpy()
        return found

    def spectra(self, part: Part, count: int) -> Float[np.ndarray, "rows count"]:
        """The `count` largest singular values of each row's gradient, largest first, zeros behind its rank.

        Squares of singular values are the eigenvalues of ``(E^T E)(H^T H) / T^2``, and of the symmetric matrix with
        the root of one factor on both sides of the other.
        """
        found = np.zeros((len(self.lengths), count))
        order = np.argsort(self.lengths, kind="stable")
        for places in _blocks(self.lengths[order], self._most(part)):
            some = order[places]
            lengths = self.lengths[some]
            ends = np.cumsum(lengths)
            tokens = np.arange(ends[-1]) + np.repeat(self._starts[some] - (ends - lengths), lengths)
            factors = self._factors(torch.from_numpy(tokens), part)
            for length in np.unique(lengths):
                alike = np.flatnonzero(lengths == length)
                own = slice(ends[alike[0]] - length, ends[alike[-1]])
                rows = (factor[own].reshape(len(alike), length, -1) for factor in factors)
                values = _singular_values(*rows)[:, :count]
                found[some[alike], : values.shape[1]] = values / length
        return found

    def products(self, part: Part) -> Float[np.ndarray, "rows rows"]:
        """Inner products of every two rows' gradients."""
        count = len(self.lengths)
        found = np.zeros((count, count))
        blocks = list(_blocks(self.lengths, self._most(part)))
        for number, one in enumerate(blocks):
            first = self._factors(self._tokens(one), part)
            for other in blocks[number:]:
                second = first if other == one else self._factors(self._tokens(other), part)
                tokens = (first[0] @ second[0].T) * (first[1] @ second[1].T)
                by_row = np.add.reduceat(tokens, self._starts[one] - self._starts[one.start], axis=0, dtype=np.float64)
                both = np.add.reduceat(by_row, self._starts[other] - self._starts[other.start], axis=1)
                found[one, other] = both
                found[other, one] = both.T
        return found / np.outer(self.lengths, self.lengths)

    def whole(self, part: Part) -> Iterator[Float[np.ndarray, "vocabulary width"]]:
        """Each row's gradient itself, or its part, one after another: much memory each."""
        for start, length in zip(self._starts, self.lengths, strict=True):
            errors, states = self._factors(slice(start, start + length), part)
            yield errors.T @ states / length

    @property
    def _starts(self) -> Int[np.ndarray, "rows"]:
        starts: Int[np.ndarray, "rows"] = np.cumsum(self.lengths) - self.lengths
        return starts

    def _tokens(self, rows: slice) -> slice:
        starts = self._starts
        return slice(starts[rows.start], starts[rows.stop - 1] + self.lengths[rows.stop - 1])

    def _most(self, part: Part = Part()) -> int:
        """Tokens of a block, of whose errors a part is read."""
        return max(64, _SCORES // max(_TILE, part.read(len(self.weight))))

    def _scores(
        self, states: Float[Tensor, "tokens width"], vocabulary: slice = slice(None)
    ) -> Float[Tensor, "tokens vocabulary"]:
        scores = states @ self.weight[vocabulary].t()
        return scores if self.bias is None else scores + self.bias[vocabulary]

    def _errors(self, tokens: slice | Tensor, part: Part = Part()) -> Float[Tensor, "tokens read"]:
        """The errors that the part is made of, at some tokens."""
        states, labels, read = self.states[tokens], self.labels[tokens], part.read(len(self.weight))
        if read == len(self.weight):
            errors = torch.softmax(self._scores(states), -1)
        else:
            errors = self._scores(states, slice(read))
            errors.sub_(self._normalizers(states, errors)[:, None]).exp_()
        own = torch.nonzero(labels < read)[:, 0]
        errors[own, labels[own]] -= 1
        return errors

    def _normalizers(
        self, states: Float[Tensor, "tokens width"], first: Float[Tensor, "tokens first"]
    ) -> Float[Tensor, "tokens"]:
        """The logarithm of the sum of the exponentials of all scores, of which the first are given.

        The others are made some at a time, in a place that the processor's cache can hold.
        """
        most = first.amax(1)
        total = (first - most[:, None]).exp_().sum(1)
        for start in range(first.shape[1], len(self.weight), _TILE):
            scores = self._scores(states, slice(start, start + _TILE))
            before, most = most, torch.maximum(most, scores.amax(1))
            total = total * (before - most).exp() + scores.sub_(most[:, None]).exp_().sum(1)
        return most + total.log()

    @torch.no_grad()
    def _factors(self, tokens: slice | Tensor, part: Part) -> tuple[np.ndarray, np.ndarray]:
        """The part's errors and states of some tokens, a row a token."""
        errors = self._errors(tokens, part).cpu().numpy()
        if part.kind != "corner":
            errors = part.of(errors)
        return errors, part.of(self.states[tokens].cpu().numpy())


def _singular_values(
    errors: Float[np.ndarray, "rows length vocabulary"], states: Float[np.ndarray, "rows length width"]
) -> Float[np.ndarray, "rows length"]:
    """Those of each row's ``sum_t e_t h_t^T``, largest first."""
    one, other = ((numbers := factors.astype(np.float64)) @ numbers.transpose(0, 2, 1) for factors in (errors, states))
    values, vectors = np.linalg.eigh(other)
    root = vectors * np.sqrt(values.clip(0))[:, None]
    squares = np.linalg.eigvalsh(root.transpose(0, 2, 1) @ one @ root)[:, ::-1]
    return np.asarray(np.sqrt(squares.clip(0)))


def _blocks(lengths: Int[np.ndarray, "rows"], most: int) -> Iterator[slice]:
    """The rows in order, in blocks of at most so many tokens or one row."""
    start, tokens = 0, 0
    for place, length in enumerate(lengths.tolist()):
        if place > start and tokens + length > most:
            yield slice(start, place)
            start, tokens = place, 0
        tokens += length
    if len(lengths):
        yield slice(start, len(lengths))
