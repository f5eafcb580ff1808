"""CleanGen: its limits, its equality with a token-by-token reading of the procedure, and what it does to the attack."""

import math
from dataclasses import replace

import pytest
import torch

from fedsonar.model.hosted import plugged_into
from fedsonar.model.stack import alone
from fedsonar.repair import CleanGen


def asked(patient, count=6):
    rows = patient.examiner.attacked_rows
    return [row.prompt for row in rows[:count]], frozenset({patient.federation.tokenizer.eos_token_id})


def plain(patient, prompts, stops, adapter=None, limit=24):
    adapter = patient.adapter if adapter is None else adapter
    return patient.federation.network.answers(adapter, prompts, limit=limit, stops=stops)


def guarded(patient, repair, prompts, stops, limit=24, **options):
    network = patient.federation.network
    return repair.answers(network, patient.adapter, prompts, limit=limit, stops=stops, **options)


def test_with_an_infinite_threshold_it_is_plain_greedy(patient):
    prompts, stops = asked(patient)
    repair = CleanGen(threshold=math.inf)
    assert guarded(patient, repair, prompts, stops) == plain(patient, prompts, stops)
    assert guarded(patient, repair, prompts, stops, limit=3) == plain(patient, prompts, stops, limit=3)


def test_with_the_tuned_model_as_reference_nothing_is_suspicious(patient):
    prompts, stops = asked(patient)
    assert guarded(patient, CleanGen(), prompts, stops, reference=patient.adapter) == plain(patient, prompts, stops)


def test_with_no_trust_at_all_the_reference_answers(patient):
    prompts, stops = asked(patient)
    base = plain(patient, prompts, stops, torch.zeros_like(patient.adapter))
    assert guarded(patient, CleanGen(threshold=1e-30), prompts, stops) == base


def test_answers_are_those_of_the_procedure_token_by_token(patient):
    prompts, stops = asked(patient, 3)
    model, layout = patient.tuned().model, patient.federation.layout
    factors = alone(layout, patient.adapter, torch.float32)
    expected = []
    for prompt in prompts:
        said: list[int] = []
        while len(said) < 24:
            ids = torch.tensor([[*prompt, *said]])
            with torch.no_grad():
                theirs = model(input_ids=ids).logits[0, -1].softmax(-1)
                with plugged_into(model, layout, factors):
                    ours = model(input_ids=ids).logits[0, -1].softmax(-1)
            token = int(ours.argmax())
            token = int(theirs.argmax()) if ours[token] / theirs[token] >= 20 else token
            if token in stops:
                break
            said.append(token)
        expected.append(said)
    assert guarded(patient, CleanGen(), prompts, stops) == expected
    assert guarded(patient, CleanGen(draft=1), prompts, stops, together=2) == expected
    assert expected != plain(patient, prompts, stops)


def test_the_stop_token_that_was_meant_is_found_among_several(patient):
    prompts, stops = asked(patient, 4)
    several = stops | {0, 1}
    assert guarded(patient, CleanGen(threshold=math.inf), prompts, several) == plain(patient, prompts, several)


def test_it_silences_the_attack_and_leaves_weights_alone(patient):
    repaired = CleanGen().apply(patient.tuned())
    assert repaired.adapter is patient.adapter
    found = patient.ask(repaired)
    assert found.attack.success.high < patient.before.attack.success.low
    assert found.accuracy.value > patient.before.accuracy.value - 0.15


def test_numbers_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="CleanGen needs draft >= 1 and threshold > 0, got draft=0"):
        CleanGen(draft=0)
    with pytest.raises(ValueError, match=r"threshold=0\.0"):
        replace(CleanGen(), threshold=0.0)
