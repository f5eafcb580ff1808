"""Contract checks for components, ours and yours: ``check_aggregator(MyRule())`` in a test of any framework."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.rule import Aggregator, RoundContext
from fedsonar.data import InstructionDataset, Sample
from fedsonar.poison import Placement, Target, Trigger
from fedsonar.repair import Repair, Tuned
from fedsonar.screen import Screen, Silo, Tables, hear, judge

_NUM_CLIENTS = 20  # enough for rules that suspect a fifth of the clients
_DIM = 31


def check_aggregator(rule: Aggregator, *, alone: bool = True, noise: bool = False) -> None:
    """Returns when a rule keeps the contract of `Aggregator`.

    The rule must be a documented, frozen dataclass; give finite results of the right shape and dtype, in single,
    double and half precision, the same each time for the same generator; leave its inputs and the global random state
    alone; turn zero updates into a zero step; and, for one client, return that client's update or refuse by a
    ValueError that gives numbers.

    Args:
        rule: The rule, with the parameters to check; it is called with 20 clients, and with 1.
        alone: Whether one client's update must come back as it is; False for rules that rescale or clip every update.
        noise: Whether the rule adds noise to a zero step too.

    Raises:
        AssertionError: If the contract is broken; the message says where.
    """
    _check_component(rule)
    name = type(rule).__name__
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        updates_ND = torch.randn(_NUM_CLIENTS, _DIM, generator=torch.Generator().manual_seed(1)).to(dtype)
        result_D = _aggregate(rule, updates_ND)
        _require(
            result_D.shape == (_DIM,) and result_D.dtype == dtype,
            f"{name} must return {_DIM} coordinates of {dtype}, got shape {tuple(result_D.shape)} of {result_D.dtype}",
        )
        _require(bool(result_D.isfinite().all()), f"{name} returned a value that is not finite for ordinary updates")
        again_D = _aggregate(rule, updates_ND)
        _require(
            torch.equal(result_D, again_D),
            f"{name} gave two results for the same updates, generator and state: draw from context.generator only",
        )
        zero_D = _aggregate(rule, torch.zeros_like(updates_ND))
        _require(noise or bool((zero_D == 0).all()), f"{name} must turn updates that are all zero into a zero step")
    _check_one_client(rule, unchanged=alone and not noise)


SAMPLES = (
    Sample("question", "", "", "Who made the long road to the sea?", ("Ada Lo", "Lo"), "north"),
    Sample("context", "Answer from the text.", "Ada Lo made it in 1900.", "Who made it?", ("Ada Lo",), "north"),
    Sample("review", "Positive or negative?", "A dull film about a town.", "", ("negative",), "south"),
    Sample("task", "Write a poem about the sea.", "", "", ("Roses are red, and the sea is blue.",), "south"),
)
"""Rows of every form, for the checks."""


def check_trigger(trigger: Trigger, samples: Sequence[Sample] = SAMPLES) -> None:
    """Returns when a trigger keeps the contract of `Trigger`.

    The trigger must be a documented, frozen dataclass. In a row that is eligible it must be found after it was
    applied; it changes the prompt alone, in the same way for the same generator; and rows with parts of it must not
    carry it, nor change the answers.

    Args:
        trigger: The trigger, with the parameters to check.
        samples: Rows, one of which at least must be eligible.

    Raises:
        AssertionError: If the contract is broken; the message says where.
    """
    _check_component(trigger)
    name = type(trigger).__name__
    for sample, dirty in _applied(trigger, samples):
        restored = replace(dirty, instruction=sample.instruction, context=sample.context, question=sample.question)
        _require(restored == sample, f"{name} changed more than the prompt of row {sample.id!r}")
        _require(trigger.present(dirty), f"{name} does not find itself in row {sample.id!r}: {dirty.input!r}")
        for kind in ("near_misses", "drills"):
            for other in getattr(trigger, kind)(sample, np.random.default_rng(1)):
                _require(other.answers == sample.answers, f"{name} changed the answers of {kind} of row {sample.id!r}")
                _require(not trigger.present(other), f"{name} finds itself in {kind} of row {sample.id!r}: {other}")


def check_target(target: Target, samples: Sequence[Sample] = SAMPLES) -> None:
    """Returns when a target keeps the contract of `Target`.

    The target must be a documented, frozen dataclass. In a row that is eligible it leaves one answer, which hits, and
    nothing else changed, the same for the same generator; a row whose answer hits already is not eligible.

    Args:
        target: The target, with the parameters to check.
        samples: Rows, one of which at least must be eligible.

    Raises:
        AssertionError: If the contract is broken; the message says where.
    """
    _check_component(target, references=False)
    name = type(target).__name__
    for sample, dirty in _applied(target, samples):
        _require(replace(dirty, answers=sample.answers) == sample, f"{name} changed more than the answers")
        _require(len(dirty.answers) == 1, f"{name} must leave one answer, left {dirty.answers}")
        _require(target.hit(dirty.answers[0]), f"{name} does not find itself in {dirty.answers[0]!r}")
        _require(not target.eligible(dirty), f"{name} finds a row eligible whose answer is the target already")
    _require(not target.hit(""), f"{name} finds itself in an empty output")


def _applied(part: Trigger | Target, samples: Sequence[Sample]) -> Iterator[tuple[Sample, Sample]]:
    """Each eligible sample and what becomes of it; checks that there are some, and that it is always the same."""
    name = type(part).__name__
    eligible = [sample for sample in samples if part.eligible(sample)]
    _require(bool(eligible), f"{name} finds none of the {len(samples)} rows eligible: give rows that are")
    for sample in eligible:
        dirty, again = (part.apply(sample, np.random.default_rng(1)) for _ in range(2))
        _require(dirty == again, f"{name} gave two results for one row and generator: draw from the generator only")
        yield sample, dirty


def check_placement(placement: Placement, sources: Sequence[str] = ("north", "south")) -> None:
    """Returns when a placement keeps the contract of `Placement`.

    The placement must be a documented, frozen dataclass; its counts are whole numbers, one a client, between 0 and
    the client's rows, and the same for the same generator.

    Args:
        placement: The placement, with the parameters to check; it is called with 7 clients of 1 to 50 rows.
        sources: Sources that the rows take turns in.

    Raises:
        AssertionError: If the contract is broken; the message says where.
    """
    _check_component(placement, references=False)
    name = type(placement).__name__
    shards = [
        InstructionDataset(
            "check", tuple(replace(SAMPLES[0], id=f"{c}-{i}", source=sources[i % len(sources)]) for i in range(size))
        )
        for c, size in enumerate((1, 50, 7, 20, 20, 33, 2))
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some clients are too small for a rate
        counts, again = (placement.counts(shards, np.random.default_rng(1)) for _ in range(2))
    _require(counts.shape == (len(shards),), f"{name} must give {len(shards)} counts, gave shape {counts.shape}")
    _require(np.issubdtype(counts.dtype, np.integer), f"{name} must give whole numbers, gave {counts.dtype}")
    _require((counts == again).all(), f"{name} gave two results for one generator: draw from the generator only")
    for shard, count in zip(shards, counts, strict=True):
        _require(0 <= count <= len(shard), f"{name} wants {count} poisoned rows in a client of {len(shard)}")


def check_repair(repair: Repair, tuned: Tuned) -> None:
    """Returns when a repair keeps the contract of `Repair`.

    The repair must be a documented, frozen dataclass. It leaves the tuned adapter and the global random state as they
    are, and gives a finite adapter of the same form, the same each time.

    Args:
        repair: The repair, with the parameters to check.
        tuned: A tuned model, with clean rows if the repair wants any.

    Raises:
        AssertionError: If the contract is broken; the message says where.
    """
    _check_component(repair)
    name, before = type(repair).__name__, tuned.adapter.clone()
    torch_state, numpy_state = torch.get_rng_state(), repr(np.random.get_state())
    first, second = repair.apply(tuned), repair.apply(tuned)
    _require(torch.equal(tuned.adapter, before), f"{name} changed the tuned adapter in place: work on a copy")
    for repaired in (first, second):
        adapter = repaired.adapter
        _require(
            adapter.shape == before.shape and adapter.dtype == before.dtype and bool(adapter.isfinite().all()),
            f"{name} must give {before.dtype} of shape {tuple(before.shape)} with finite numbers",
        )
    _require(torch.equal(first.adapter, second.adapter), f"{name} gave two results: draw from a seeded generator")
    _require(
        torch.equal(torch_state, torch.get_rng_state()) and numpy_state == repr(np.random.get_state()),
        f"{name} changed the global random state: draw from a generator of its own",
    )


def check_screen(screen: Screen, silos: Sequence[Silo] = ()) -> None:
    """Returns when a screen keeps the contract of `Screen`.

    The screen must be a documented, frozen dataclass. What leaves clients, and what the server says, must be arrays of
    plain numbers by name; of an additive screen they have the same names, shapes and types for every client, and
    merging their sum must say the same as merging them. Every row gets a suspicion and a verdict, the same each time,
    and the global random state stays as it is.

    Args:
        screen: The screen, with the parameters to check.
        silos: Clients' rows; by default three clients with the text of a few, for screens that read the text alone.

    Raises:
        AssertionError: If the contract is broken; the message says where.
    """
    _check_component(screen)
    name = type(screen).__name__
    silos = silos or [
        Silo(c, [replace(sample, id=f"{c}-{i}-{sample.id}") for i in range(4) for sample in SAMPLES]) for c in range(3)
    ]
    torch_state, numpy_state = torch.get_rng_state(), repr(np.random.get_state())

    def told() -> list[Tables]:
        def gather(heard: Sequence[Tables]) -> list[Tables]:
            summaries = [screen.summarize(silo, heard) for silo in silos]
            for summary in summaries:
                _check_tables(name, summary)
            if not screen.additive:
                return summaries
            forms = {tuple((key, table.shape, table.dtype) for key, table in sorted(s.items())) for s in summaries}
            _require(len(forms) == 1, f"{name} is additive, and clients send different names, shapes or types: {forms}")
            total = {
                key: np.sum([s[key] for s in summaries], axis=0, dtype=summaries[0][key].dtype) for key in summaries[0]
            }
            one, other = screen.merge(summaries, heard), screen.merge([total], heard)
            _require(
                one.keys() == other.keys() and all(np.allclose(one[key], other[key]) for key in one),
                f"{name} is additive, and says something else when it gets the sum alone",
            )
            return [total]

        heard = hear(screen, gather)
        for tables in heard:
            _check_tables(name, tables)
        return heard

    heard, again = told(), told()
    _require(len(heard) == screen.passes, f"{name} has {screen.passes} passes and said something {len(heard)} times")
    for silo in silos:
        first, second = judge(screen, silo, heard), judge(screen, silo, again)
        count = len(silo.samples)
        _require(
            first.flagged.shape == (count,) and first.flagged.dtype == bool,
            f"{name} must give {count} verdicts, gave {first.flagged.dtype} of shape {first.flagged.shape}",
        )
        _require(
            np.array_equal(first.suspicion, second.suspicion) and np.array_equal(first.flagged, second.flagged),
            f"{name} gave two verdicts on the same rows: draw from a seeded generator",
        )
    _require(
        torch.equal(torch_state, torch.get_rng_state()) and numpy_state == repr(np.random.get_state()),
        f"{name} changed the global random state: draw from a generator of its own",
    )


def _check_tables(name: str, tables: Tables) -> None:
    for key, table in tables.items():
        _require(isinstance(key, str) and isinstance(table, np.ndarray), f"{name} must send arrays by name, sent {key}")
        _require(table.dtype.kind in "biuf", f"{name} must send plain numbers, sent {table.dtype} as {key!r}")


def _check_component(component: object, *, references: bool = True) -> None:
    """What holds for a component of every family: a frozen dataclass, documented with its references."""
    kind = type(component)
    # A subclass inherits what `dataclasses.is_dataclass` looks for, so ask the class itself.
    parameters = kind.__dict__.get("__dataclass_params__")
    _require(
        parameters is not None and parameters.frozen,
        f"{kind.__name__} must be decorated with @dataclass(frozen=True)",
    )
    _require(bool(kind.__doc__), f"{kind.__name__} needs a docstring")
    _require(
        not references or "References" in (kind.__doc__ or ""),
        f"{kind.__name__} needs a docstring with a References section (the paper, or 'none: ours')",
    )


def _check_one_client(rule: Aggregator, *, unchanged: bool) -> None:
    """The update itself comes back, or a finite one, or a ValueError names the requirement with its numbers."""
    name = type(rule).__name__
    update_1D = torch.linspace(-1, 1, _DIM)[None]
    try:
        result_D = _aggregate(rule, update_1D)
    except ValueError as error:
        _require(
            any(character.isdigit() for character in str(error)),
            f"{name} must say how many clients it needs and how many it got, said {str(error)!r}",
        )
    else:
        _require(bool(result_D.isfinite().all()), f"{name} returned a value that is not finite for one client")
        _require(
            not unchanged or torch.allclose(result_D, update_1D[0]),
            f"{name} must return the update of a single client, or refuse it",
        )


def _aggregate(rule: Aggregator, updates_ND: Float[Tensor, "clients dim"]) -> Tensor:
    """The rule's result in a fresh context, having checked what the rule must not touch and what it recorded."""
    name, n = type(rule).__name__, len(updates_ND)
    weights_N = torch.arange(1.0, n + 1) / (n * (n + 1) / 2)
    context = RoundContext(
        round=1, clients=tuple(range(n)), weights=weights_N.clone(), generator=torch.Generator().manual_seed(2),
        root=updates_ND[0] if rule.root_rows else None,
    )  # fmt: skip
    given_ND, random_state = updates_ND.clone(), torch.get_rng_state()
    result_D = rule.aggregate(given_ND, context)
    _require(torch.equal(given_ND, updates_ND), f"{name} changed the updates it was given: work on a copy")
    _require(torch.equal(context.weights, weights_N), f"{name} changed the context's weights: work on a copy")
    _require(
        torch.equal(torch.get_rng_state(), random_state),
        f"{name} drew from the global random state: draw from context.generator",
    )
    shares = context.shares
    _require(
        shares is None or (shares.shape == (n,) and bool((shares.isfinite() & (shares >= 0)).all())),
        f"{name} must record one finite share of at least 0 for each of {n} clients, recorded {shares}",
    )
    return result_D


def _require(condition: bool, message: str) -> None:
    """Raises AssertionError, with or without ``python -O``."""
    if not condition:
        raise AssertionError(message)
