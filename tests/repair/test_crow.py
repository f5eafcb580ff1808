"""CROW: its regulariser and disturbance against definitions and finite differences, and what it does to the attack."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.nn.functional import cross_entropy

from fedsonar.model import Base
from fedsonar.model.hosted import plugged_into
from fedsonar.model.stack import alone
from fedsonar.repair import Crow
from fedsonar.repair.crow import _batch, disturbance, inconsistency


@pytest.fixture(scope="module")
def exact(patient):
    """The model in double precision, a row's embeddings, and which of its tokens are real."""
    model = Base().model().double()
    ids, _, real = _batch(patient.clean[:2], model.device)
    return model, model.get_input_embeddings()(ids).detach(), real


def test_the_inconsistency_is_one_minus_the_cosine_of_consecutive_blocks(exact):
    model, embeddings, real = exact
    states = model(inputs_embeds=embeddings, output_hidden_states=True).hidden_states[1:]
    found = []
    for low, high in pairwise(states):
        for row, token in real.nonzero().tolist():
            a, b = low[row, token], high[row, token]
            found.append(1 - float(a @ b / (a.norm() * b.norm())))
    assert float(inconsistency(model, embeddings, real)) == pytest.approx(sum(found) / len(found), rel=1e-9)


def test_the_disturbance_is_the_sign_of_the_gradient_by_finite_differences(exact):
    model, embeddings, real = exact
    shift = disturbance(model, embeddings, real, 0.1)
    assert set(shift[real].abs().unique().tolist()) <= {0.0, 0.1}

    def slope(step):
        return float(inconsistency(model, embeddings + step, real) - inconsistency(model, embeddings - step, real))

    generator = torch.Generator().manual_seed(0)
    for row, token in real.nonzero()[torch.randperm(int(real.sum()), generator=generator)[:4]].tolist():
        step = torch.zeros_like(embeddings)
        step[row, token] = shift[row, token] / 100
        mixed = step * torch.randn(step.shape, generator=generator).sign()
        assert slope(step) > 1.5 * abs(slope(mixed))  # no other signs rise as steeply


def test_padding_changes_nothing(exact, patient):
    model, _, _ = exact
    row = min(patient.clean[:2], key=lambda row: row.length)
    found = []
    for rows in ([row], patient.clean[:2]):
        ids, _, real = _batch(rows, model.device)
        mine = [r.id for r in rows].index(row.id)
        only = torch.zeros_like(real)
        only[mine] = real[mine]
        found.append(float(inconsistency(model, model.get_input_embeddings()(ids), only)))
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_without_weight_the_loss_is_that_of_the_response(patient):
    tuned, rows = patient.tuned(), patient.clean[:3]
    layout = patient.federation.layout
    plain = Crow(weight=0.0).loss(tuned.model, layout, patient.adapter, rows)
    losses = []
    with plugged_into(tuned.model, layout, alone(layout, patient.adapter, torch.float32)), torch.no_grad():
        for row in rows:
            logits = tuned.model(input_ids=torch.tensor([[*row.prompt, *row.response]])).logits[0]
            predicted = logits[len(row.prompt) - 1 : -1]
            losses += cross_entropy(predicted, torch.tensor(row.response), reduction="none").tolist()
    assert float(plain) == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    assert float(Crow(weight=1.0).loss(tuned.model, layout, patient.adapter, rows)) > float(plain)


def test_crow_makes_layers_agree_more_and_weakens_the_attack(patient):
    tuned = patient.tuned(patient.clean)
    layout = patient.federation.layout
    repaired = Crow(epochs=1).apply(tuned)
    ids, _, real = _batch(patient.clean[:8], torch.device("cpu"))
    found = []
    for adapter in (patient.adapter, repaired.adapter):
        with plugged_into(tuned.model, layout, alone(layout, adapter, torch.float32)), torch.no_grad():
            found.append(float(inconsistency(tuned.model, tuned.model.get_input_embeddings()(ids), real)))
    assert found[1] < found[0]
    assert patient.ask(repaired).attack.success.high < patient.before.attack.success.low


def test_a_frozen_a_stays(patient):
    tuned = replace(patient.tuned(patient.clean[:2]), freeze_a=True)
    repaired = Crow(epochs=1).apply(tuned).adapter
    for _, a, b in patient.federation.layout.slices():
        assert torch.equal(repaired[a], patient.adapter[a])
        assert not torch.equal(repaired[b], patient.adapter[b])
