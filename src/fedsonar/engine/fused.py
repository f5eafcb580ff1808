"""The fused engine: the clients of a round train together, in one forward and one backward pass a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from fedsonar.data.template import TokenRow
from fedsonar.engine.job import ClientJob, Engine, Training
from fedsonar.model.layout import Layout
from fedsonar.model.lora import AdapterStack
from fedsonar.records import Update
from fedsonar.rng import stream

# What one more forward and backward pass is taken to cost, in tokens: a guess, better than never splitting, not tuned.
_PASS_TOKENS = 256


@dataclass(frozen=True, slots=True)
class _Batch:
    """Left-padded rows of several clients, `rows_each` a client, and the labels of their last tokens."""

    ids: Int[Tensor, "rows length"]
    mask: Int[Tensor, "rows length"]
    labels: Int[Tensor, "rows response"]


def micro_batches(groups: Sequence[Sequence[TokenRow]]) -> list[list[list[TokenRow]]]:
    """The groups' rows in parts of similar length, the longest rows of every group first.

    A step's loss is a sum over rows, so its gradient can be summed over parts, and each part is padded to its own
    longest row only. Parts are cut where the padding saved is worth more than another pass.
    """
    ranked = [sorted(rows, key=lambda row: -row.length) for rows in groups]
    depth = max(map(len, ranked))
    longest = [max(rows[rank].length for rows in ranked if len(rows) > rank) for rank in range(depth)]
    cuts = [0]
    for rank in range(1, depth):
        saved = len(groups) * sum(longest[cuts[-1]] - longest[other] for other in range(cuts[-1], rank + 1))
        if saved > _PASS_TOKENS:
            cuts.append(rank)
    return [[rows[start:end] for rows in ranked] for start, end in pairwise([*cuts, depth])]


def collate(groups: Sequence[Sequence[TokenRow]], pad: int) -> _Batch:
    """One batch of equally many rows a group; missing rows are padding that no loss counts.

    Rows are padded on the left, so that every response ends at the last position and the model needs to compute logits
    for the last few positions only.
    """
    each = max(map(len, groups))
    length = max(row.length for rows in groups for row in rows)
    response = max(len(row.response) for rows in groups for row in rows)
    ids = torch.full((len(groups) * each, length), pad)
    mask = torch.zeros_like(ids)
    mask[:, -1] = 1  # a row of padding alone still needs one position to attend to
    labels = torch.full((len(groups) * each, response), -100)
    for group, rows in enumerate(groups):
        for place, row in enumerate(rows, start=group * each):
            ids[place, -row.length :] = torch.tensor(row.prompt + row.response)
            mask[place, -row.length :] = 1
            labels[place, -len(row.response) :] = torch.tensor(row.response)
    return _Batch(ids, mask, labels)


def summed_losses(model: PreTrainedModel, batch: _Batch, clients: int) -> Float[Tensor, "clients"]:
    """Each client's loss summed over the response tokens of its rows, in nats; 0 where it has none."""
    device = model.device
    mask, labels = batch.mask.to(device), batch.labels.to(device)
    output = model(
        input_ids=batch.ids.to(device),
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        logits_to_keep=labels.shape[1] + 1,
        use_cache=False,
    )
    learn = labels != -100
    losses = cross_entropy(output.logits[:, :-1][learn].float(), labels[learn], reduction="none")
    owner = torch.arange(clients, device=device).repeat_interleave(labels.shape[0] // clients)
    return torch.zeros(clients, device=device).index_add(0, owner[:, None].expand_as(labels)[learn], losses)


class StackedAdamW:
    """AdamW for K adapters at once, each with its own clipping and learning rate; equals K optimisers of PyTorch's.

    References:
        Loshchilov and Hutter, 2019, arXiv:1711.05101, algorithm 2.
    """

    def __init__(self, stack: AdapterStack, training: Training) -> None:
        self.stack = stack
        self.training = training
        self.mean = torch.zeros_like(stack.adapters)
        self.square = torch.zeros_like(stack.adapters)
        self.steps = 0

    def step(self, lr: Float[Tensor, "active"]) -> None:
        """Moves the first ``len(lr)`` adapters by their gradients, and clears these."""
        active, options = len(lr), self.training
        adapters, grad = self.stack.adapters[:active], self.stack.grad[:active]
        mean, square = self.mean[:active], self.square[:active]
        norm = torch.linalg.vector_norm(grad, dim=1, keepdim=True)
        grad *= (options.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
        self.steps += 1
        if options.weight_decay:
            adapters *= 1 - lr[:, None] * options.weight_decay
        mean.lerp_(grad, 1 - options.beta1)
        square.mul_(options.beta2).addcmul_(grad, grad, value=1 - options.beta2)
        denominator = (square.sqrt() / (1 - options.beta2**self.steps) ** 0.5).add_(options.eps)
        adapters -= (lr / (1 - options.beta1**self.steps))[:, None] * mean / denominator
        self.stack.grad.zero_()


class FusedEngine(Engine):
    """Trains all clients of a round in this process, a wave of them at a time.

    Within a wave the adapters are stacked and every step serves all clients that still have rows; the result equals
    separate training of each client to float rounding. Row orders come from (seed, client, round) alone.

    Args:
        model: Frozen base model.
        layout: The adapter's layout in it.
        training: How each client trains.
        seed: The experiment's seed.
        pad: Padding token id.
        wave_tokens: Most padded tokens in one forward pass; bounds memory, and with it the clients of a wave.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        layout: Layout,
        training: Training,
        *,
        seed: int,
        pad: int,
        wave_tokens: int = 16384,
    ) -> None:
        self.model = model
        self.layout = layout
        self.training = training
        self.seed = seed
        self.pad = pad
        self.wave_tokens = wave_tokens

    def batches(self, job: ClientJob) -> list[list[TokenRow]]:
        """The client's batches of the round, in order: a fresh seeded shuffle each epoch."""
        size, made = self.training.batch_size, []
        for epoch in range(self.training.epochs):
            order = stream(self.seed, "order", job.client, job.round, epoch).permutation(len(job.rows))
            rows = [job.rows[i] for i in order]
            made += [rows[start : start + size] for start in range(0, len(rows), size)]
        return made

    def train_round(self, jobs: Sequence[ClientJob]) -> list[Update]:
        """The clients' updates, in the order of the jobs; see `Engine.train_round`."""
        if not jobs:
            return []
        # Longest first: the clients that still have rows at any step are then the first of the stack.
        ranked = sorted(range(len(jobs)), key=lambda i: -len(jobs[i].rows))
        longest = max(row.length for job in jobs for row in job.rows)
        width = max(1, self.wave_tokens // (longest * self.training.batch_size))
        updates: dict[int, Update] = {}
        for start in range(0, len(ranked), width):
            wave = ranked[start : start + width]
            for index, update in zip(wave, self._train_wave([jobs[i] for i in wave]), strict=True):
                updates[index] = update
        return [updates[index] for index in range(len(jobs))]

    def _train_wave(self, jobs: Sequence[ClientJob]) -> list[Update]:
        device = self.model.device
        starts = torch.stack([job.start for job in jobs])
        stack = AdapterStack(self.layout, starts.to(device, torch.float32, copy=True))
        optimiser = StackedAdamW(stack, self.training)
        queues = [self.batches(job) for job in jobs]
        totals = torch.tensor([len(queue) for queue in queues], device=device)
        loss_sums = torch.zeros(len(jobs), device=device)
        active = len(jobs)
        with stack.plugged_into(self.model):
            for step in range(len(queues[0])):
                remaining = sum(len(queue) > step for queue in queues)
                if remaining < active:
                    stack.activate(active := remaining)
                batches = [queue[step] for queue in queues[:active]]
                counts = torch.tensor([sum(len(row.response) for row in rows) for rows in batches], device=device)
                for part in micro_batches(batches):
                    losses = summed_losses(self.model, collate(part, self.pad), active) / counts
                    stack.backward(losses.sum())
                    loss_sums[:active] += losses.detach()
                fraction = (
                    1 - step / totals[:active]
                    if self.training.schedule == "linear"
                    else torch.ones(active, device=device)
                )
                with torch.no_grad():
                    optimiser.step(self.training.lr * fraction)
        if not loss_sums.isfinite().all():
            bad = jobs[int((~loss_sums.isfinite()).nonzero()[0])]
            raise FloatingPointError(
                f"the loss of client {bad.client} is no longer finite in round {bad.round}; "
                f"lower training.lr ({self.training.lr:g})"
            )
        deltas = stack.adapters.cpu() - starts
        means = (loss_sums / totals).tolist()
        return [
            Update(job.client, len(job.rows), len(queue), loss, delta)
            for job, queue, loss, delta in zip(jobs, queues, means, deltas, strict=True)
        ]
