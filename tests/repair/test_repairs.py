"""Each repair that changes weights, on a poisoned model: where it ends when it does nothing, all, or its work."""

import pytest
import torch

from fedsonar.model.hosted import plugged_into
from fedsonar.model.stack import alone
from fedsonar.repair import CleanGen, CleanTuning, Crow, FineMixing, Pruning
from fedsonar.repair.pruning import activations, magnitudes
from fedsonar.testing import check_repair


def rows_of_change(patient, adapter):
    """Every row of every layer's change: site -> which are zero."""
    return {site.name: (b @ a).norm(dim=1) == 0 for site, a, b in patient.federation.layout.factors(adapter)}


@pytest.mark.parametrize(
    "repair",
    [FineMixing(clean_rows=0, share=0.0, epochs=0), Pruning(clean_rows=0, by="magnitude", share=0.0, epochs=0)],
)
def test_no_share_is_the_identity(patient, repair):
    before = patient.adapter.clone()
    assert torch.equal(repair.apply(patient.tuned()).adapter, before)
    assert torch.equal(patient.adapter, before)


@pytest.mark.parametrize(
    "repair",
    [FineMixing(clean_rows=0, share=1.0, epochs=0), Pruning(clean_rows=0, by="magnitude", share=1.0, epochs=0)],
)
def test_the_whole_share_is_the_base_model(patient, repair):
    repaired = repair.apply(patient.tuned())
    assert all(zero.all() for zero in rows_of_change(patient, repaired.adapter).values())
    fresh = patient.examiner.examine(torch.zeros_like(patient.adapter))
    found = patient.ask(repaired)
    assert (found.outputs, found.attacked_outputs) == (fresh.outputs, fresh.attacked_outputs)
    assert found.attack.success.value == 0


def test_mixing_takes_back_so_many_rows_and_leaves_the_others(patient):
    mixed = FineMixing(clean_rows=0, share=0.25, epochs=0).apply(patient.tuned()).adapter
    for (_, a, b), (site, was_a, was_b) in zip(
        patient.federation.layout.factors(mixed), patient.federation.layout.factors(patient.adapter), strict=True
    ):
        back = (b != was_b).any(dim=1)
        assert back.sum() == round(0.25 * site.out_features)
        assert not b[back].any()
        assert torch.equal(a, was_a)


def test_pruning_by_magnitude_cuts_the_smallest_rows(patient):
    pruned = Pruning(clean_rows=0, by="magnitude", share=0.3, epochs=0).apply(patient.tuned()).adapter
    sizes = magnitudes(patient.tuned())
    for name, zero in rows_of_change(patient, pruned).items():
        assert zero.sum() == round(0.3 * len(zero))
        assert sizes[name][zero].max() <= sizes[name][~zero].min()


def test_activation_is_what_the_adapter_adds_to_a_layer(patient):
    rows = patient.clean[:2]
    tuned = patient.tuned(rows)
    found = activations(tuned)
    layout, model = patient.federation.layout, tuned.model
    site = layout.sites[-1]
    added, factors = [], alone(layout, patient.adapter, torch.float32)
    with plugged_into(model, layout, factors):
        stacked = model.get_submodule(site.name)
        handle = stacked.register_forward_hook(lambda m, x, out: added.append((out - m.base(x[0])) / layout.scale))
        for row in rows:
            model(input_ids=torch.tensor([[*row.prompt, *row.response]]))
        handle.remove()
    expected = torch.cat([part[0] for part in added]).abs().mean(0)
    torch.testing.assert_close(found[site.name], expected, rtol=1e-3, atol=1e-4)


def test_pruning_by_activation_needs_rows():
    with pytest.raises(ValueError, match="by activation needs clean rows"):
        Pruning(clean_rows=0, epochs=0)


@pytest.mark.parametrize(
    "repair", [CleanTuning(epochs=2), FineMixing(epochs=2), Pruning(epochs=2)], ids=lambda repair: type(repair).__name__
)
def test_a_repair_that_tunes_weakens_the_attack_and_keeps_accuracy(patient, repair):
    found = patient.ask(repair.apply(patient.tuned(patient.clean)))
    assert found.attack.success.high < patient.before.attack.success.low
    assert found.accuracy.value > patient.before.accuracy.value - 0.15


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: CleanTuning(epochs=0), "CleanTuning needs epochs >= 1, got 0"),
        (lambda: CleanTuning(clean_rows=0), "CleanTuning trains 3 epochs on clean rows .* set clean_rows to 1 or more"),
        (lambda: FineMixing(share=1.2), r"FineMixing needs share in \[0, 1\], got 1.2"),
        (lambda: Pruning(share=-0.1), r"Pruning needs share in \[0, 1\], got -0.1"),
    ],
)
def test_what_makes_no_sense_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize(
    "repair", [CleanGen(), CleanTuning(epochs=1), Crow(epochs=1), FineMixing(epochs=1), Pruning(epochs=1)],
    ids=lambda repair: type(repair).__name__,
)  # fmt: skip
def test_every_repair_keeps_the_contract(patient, repair):
    check_repair(repair, patient.tuned(patient.clean[:4]))
