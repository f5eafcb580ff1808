"""The peer does the same work as the fused engine, client by client."""

import pytest
import torch

from fedsonar.bench.contenders import fused, peft
from fedsonar.bench.peft_clients import PeftClients, pad_right
from fedsonar.bench.scenario import LORAS, Scenario
from fedsonar.data import TokenRow
from fedsonar.engine import FusedEngine, Training
from fedsonar.model import network_for, random_adapter

SCENARIO = Scenario(model="tiny", rows="webqa", clients=3, rows_each=9)


@pytest.mark.parametrize("lora", LORAS)
@pytest.mark.parametrize("schedule", ["linear", "constant"])
def test_updates_are_those_of_the_fused_engine(lora, schedule):
    scenario = Scenario(model="tiny", lora=lora, rows="webqa", clients=3, rows_each=9)
    training = Training(lr=1e-2, schedule=schedule)
    jobs, layout = scenario.jobs(), scenario.layout
    engine = FusedEngine(network_for(scenario.load(), layout), training, seed=scenario.seed)
    ours = torch.stack([update.delta for update in engine.train_round(jobs)])
    peer = PeftClients(scenario.load(), LORAS[lora], layout, training)
    theirs = peer.train_round(scenario.start, scenario.batches())
    assert ((ours - theirs).norm(dim=1) < 1e-4 * theirs.norm(dim=1)).all()


def test_contenders_train_the_same_and_count_what_they_read():
    ours, theirs = fused(SCENARIO)(), peft(SCENARIO)()
    assert abs(ours.step - theirs.step).max() < 1e-3 * abs(theirs.step).max()
    assert ours.distinct == theirs.distinct == ours.credited == theirs.credited
    assert ours.distinct <= ours.positions < theirs.positions


def test_answers_are_the_greedy_ones():
    layout = SCENARIO.layout
    peer = PeftClients(SCENARIO.load(), LORAS["qv"], layout, SCENARIO.training)
    adapter = random_adapter(layout, torch.Generator().manual_seed(0))
    rows = [TokenRow("a", (5, 6, 7, 8), ()), TokenRow("b", (9, 10), ()), TokenRow("c", (11, 12, 13), ())]
    answers = peer.answer(adapter, rows, max_new_tokens=4, batch_size=2)
    for row, answer in zip(rows, answers, strict=True):
        tokens = list(row.prompt)
        for _ in range(4):
            tokens.append(int(peer.model(input_ids=torch.tensor([tokens])).logits[0, -1].argmax()))
        assert answer == tokens[len(row.prompt) :]
    assert torch.equal(peer.adapter(), adapter)


def test_padding_is_on_the_right_and_labels_are_the_responses():
    ids, mask, labels = pad_right([TokenRow("a", (5, 6), (7,)), TokenRow("b", (8,), (9, 0, 3))])
    assert ids.tolist() == [[5, 6, 7, 1], [8, 9, 0, 3]]
    assert mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert labels.tolist() == [[-100, -100, 7, -100], [-100, 9, 0, 3]]
