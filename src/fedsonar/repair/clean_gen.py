"""CleanGen: while the model answers, a reference model takes over wherever a token is suspiciously likely."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.data import TokenRow
from fedsonar.model import Network
from fedsonar.model.pieces import wide
from fedsonar.repair.repair import Repair, Repaired, Tuned


@dataclass(frozen=True, kw_only=True)
class CleanGen(Repair):
    """Answers with the tuned model, but with the reference's token where ``p_tuned / p_reference >= threshold``.

    The tuned model drafts a few tokens, both models judge them at once, and the first suspicious one is replaced by the
    reference's likeliest token; what was drafted behind it is dropped. The reference is the untuned base model, which a
    federation has for free and which no client can poison. Weights stay, and no clean rows are needed.

    Args:
        draft: Tokens drafted before they are judged. Of greedy answers it changes the cost, not the answer.
        threshold: Least ratio of probabilities that is suspicious.

    Raises:
        ValueError: If the draft is empty or the threshold not positive.

    References:
        Li et al., 2024, arXiv:2406.12257, algorithm 1; draft and threshold are its defaults.
    """

    draft: int = 4
    threshold: float = 20.0

    def __post_init__(self) -> None:
        if self.draft < 1 or not self.threshold > 0:
            raise ValueError(
                f"CleanGen needs draft >= 1 and threshold > 0, got draft={self.draft} and threshold={self.threshold}"
            )

    def apply(self, tuned: Tuned) -> Repaired:
        """The tuned adapter as it is, with a guarded way of answering."""
        return Repaired(tuned.adapter, partial(self.answers, tuned.network))

    def answers(
        self, network: Network, adapter: Float[Tensor, "dim"], prompts: Sequence[Sequence[int]], *, limit: int,
        stops: frozenset[int], together: int = 128, reference: Float[Tensor, "dim"] | None = None,
    ) -> list[list[int]]:  # fmt: skip
        """Guarded greedy answers; see `Network.answers`.

        Args:
            network: The frozen base model.
            adapter: The tuned one.
            prompts: Token ids.
            limit: Most tokens of an answer.
            stops: Tokens that end an answer.
            together: Answers that are being given at any time.
            reference: The reference's adapter; None for the base model alone.
        """
        answers: list[list[int]] = [[] for _ in prompts]
        for start in range(0, len(prompts), together):
            going = list(range(start, min(start + together, len(prompts))))
            while going:
                said = [(*prompts[i], *answers[i]) for i in going]
                drafts = self._drafts(network, adapter, said, limit - min(len(answers[i]) for i in going), stops)
                judged = self._judged(network, adapter, reference, said, drafts, stops)
                for i, tokens in zip(going, judged, strict=True):
                    answers[i] = (answers[i] + tokens)[:limit]
                    ends = [place for place, token in enumerate(answers[i]) if token in stops]
                    answers[i] = answers[i][: ends[0] + 1] if ends else answers[i]
                going = [i for i in going if len(answers[i]) < limit and not stops.intersection(answers[i])]
        return [found[:-1] if found and found[-1] in stops else found for found in answers]

    def _drafts(
        self, network: Network, adapter: Float[Tensor, "dim"], said: Sequence[tuple[int, ...]], room: int,
        stops: frozenset[int],
    ) -> list[tuple[int, ...]]:  # fmt: skip
        """What the tuned model would say next, with a stop token where it would stop."""
        length = min(self.draft, room)
        found = network.answers(adapter, said, limit=length, stops=stops, together=len(said))
        # A short answer was ended by a stop token; which one, `_judged` finds out.
        return [tuple(tokens) if len(tokens) == length else (*tokens, min(stops)) for tokens in found]

    def _judged(
        self, network: Network, adapter: Float[Tensor, "dim"], reference: Float[Tensor, "dim"] | None,
        said: Sequence[tuple[int, ...]], drafts: Sequence[tuple[int, ...]], stops: frozenset[int],
    ) -> list[list[int]]:  # fmt: skip
        """The drafts up to their first suspicious token, which is the reference's likeliest instead."""
        rows = [TokenRow(str(i), prompt, draft) for i, (prompt, draft) in enumerate(zip(said, drafts, strict=True))]
        states = (network.states(which, rows) for which in (adapter, reference))
        judged = []
        for draft, ours, theirs in zip(drafts, *states, strict=True):
            own, trusted_own = _log_shares(network, ours), _log_shares(network, theirs)
            tokens = torch.tensor(draft, device=own.device)
            if draft[-1] in stops:
                ends = torch.tensor(sorted(stops), device=own.device)
                tokens[-1] = ends[own[-1, ends].argmax()]
            ratios = (own - trusted_own).gather(1, tokens[:, None])[:, 0]
            suspicious = (ratios >= math.log(self.threshold)).nonzero()
            first = int(suspicious[0]) if len(suspicious) else len(draft)
            judged.append([*tokens[:first].tolist(), *trusted_own[first : first + 1].argmax(-1).tolist()])
        return judged


@torch.no_grad()
def _log_shares(network: Network, states: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens vocabulary"]:
    """The logarithms of the next token's probabilities."""
    scores: Tensor = network.model.get_output_embeddings()(states.to(network.model.dtype))
    return scores.to(wide(scores.dtype)).log_softmax(-1)
