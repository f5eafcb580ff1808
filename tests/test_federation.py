"""Whole runs on a small federation: what they give, keep on disk, and survive."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from peft import PeftModel

from fedsonar import Experiment, records, run, run_folder
from fedsonar.aggregate import (
    NNM,
    Aggregator,
    CenteredClipping,
    Chain,
    FedAvgM,
    FLTrust,
    FoolsGold,
    Krum,
    TrimmedMean,
)
from fedsonar.data import IID, Atlas, LengthBand, QuestionWord
from fedsonar.engine import Training
from fedsonar.experiment import Bsnr, load
from fedsonar.measure import Evaluation
from fedsonar.model import Base, Lora, load_adapter
from fedsonar.poison import Attack, Composite, ConstantRate, Label, Natural, Semantic, Short
from fedsonar.preparation import Federation, Trainer
from tiny import tiny_base

SMALL = Experiment(
    name="small",
    seed=3,
    rounds=3,
    base=tiny_base(),
    lora=Lora(r=4, alpha=8),
    data=Atlas(train=120, test=40),
    partition=IID(clients=10),
    training=Training(lr=3e-3),
    evaluation=Evaluation(rows=20),
    attack=Attack(target=Short(), placement=ConstantRate(affected=0.5, rate=0.25)),
)


class StopError(Exception):
    pass


def stop_after(round):
    def observe(progress):
        if progress.stage == "round" and progress.round == round:
            raise StopError

    return observe


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    return out, run(SMALL, out=str(out))


def test_a_run_keeps_its_contract_on_disk(whole):
    out, result = whole
    summary = json.loads((out / "summary.json").read_text())
    assert summary == result.summary
    assert set(summary) == {"clean", "attack", "screen", "bsnr", "repair", "rounds", "clients", "experiment"}
    assert set(summary["clean"]) == {"accuracy", "n", "low", "high"}
    assert set(summary["attack"]) == {"success_rate", "n", "low", "high", "false_activation"}
    assert set(summary["bsnr"]) == {"final_db", "cumulative_db"}
    assert (summary["rounds"], summary["clients"], summary["screen"], summary["experiment"]) == (3, 10, None, "small")
    assert load(str(out / "experiment.toml")) == SMALL
    rounds = pq.read_table(out / "rounds.parquet").to_pylist()
    assert [row["round"] for row in rounds] == [0, 1, 2, 3]
    assert rounds[0]["loss"] is None
    assert rounds[0]["asr_new"] is not None
    assert rounds[-1]["accuracy"] == summary["clean"]["accuracy"]
    assert rounds[-1]["loss"] < rounds[1]["loss"]
    assert json.loads((out / "timing.json").read_text())["rows"] == 3 * 120


def test_the_ledger_and_the_client_table_agree(whole):
    out, _ = whole
    samples = pq.read_table(out / "samples.parquet").to_pylist()
    poisoned = [row for row in samples if row["poisoned"]]
    assert len(samples) == 120
    assert len(poisoned) == 5 * 3
    assert {(row["trigger"], row["target"]) for row in poisoned} == {("Tokens", "Short")}
    clients = pq.read_table(out / "clients.parquet").to_pylist()
    assert len(clients) == 30
    for row in clients[:10]:
        assert row["poisoned_rows"] == sum(s["client"] == row["client"] for s in poisoned)
        assert row["rows"] == 12
        assert row["steps"] == 3
        assert row["weight"] == pytest.approx(0.1)


def test_the_same_seed_gives_the_same_bytes(whole, tmp_path):
    out, _ = whole
    run(SMALL, out=tmp_path / "again")
    for name in ("summary.json", "adapter/adapter_model.safetensors", "adapter/adapter_config.json", "rounds.parquet"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()
    other = run(replace(SMALL, seed=4, rounds=1))
    assert other.rounds[1].loss != pq.read_table(out / "rounds.parquet").to_pylist()[1]["loss"]


@pytest.mark.parametrize("stopped", [1, 2])
def test_a_stopped_run_resumes_to_the_same_bytes(whole, tmp_path, stopped):
    out, _ = whole
    with pytest.raises(StopError):
        run(SMALL, out=tmp_path / "part", observe=stop_after(stopped))
    assert not (tmp_path / "part" / "summary.json").exists()
    assert len(pq.read_table(tmp_path / "part" / "rounds.parquet")) == stopped + 1
    run(SMALL, out=tmp_path / "part", resume=True)
    for name in ("summary.json", "adapter/adapter_model.safetensors", "rounds.parquet", "clients.parquet"):
        assert (tmp_path / "part" / name).read_bytes() == (out / name).read_bytes()


SERVERS = {
    "state": {"aggregator": CenteredClipping()},
    "state of clients that are drawn": {"aggregator": FoolsGold(), "clients_per_round": 6},
    "chain in products": {"aggregator": Chain(steps=[NNM()], rule=TrimmedMean()), "space": "product"},
    "momentum with A frozen": {"aggregator": FedAvgM(), "space": "freeze-a"},
    "root rows": {"aggregator": FLTrust(root_rows=10)},
}


@pytest.mark.parametrize("case", SERVERS)
def test_every_kind_of_rule_and_space_resumes_to_the_same_bytes(tmp_path, case):
    experiment = replace(SMALL, evaluation=Evaluation(rows=10, every=3), **SERVERS[case])
    run(experiment, out=tmp_path / "whole")
    with pytest.raises(StopError):
        run(experiment, out=tmp_path / "part", observe=stop_after(2))
    run(experiment, out=tmp_path / "part", resume=True)
    for name in ("summary.json", "adapter/adapter_model.safetensors", "rounds.parquet", "clients.parquet"):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    last = pq.read_table(tmp_path / "whole" / "rounds.parquet").to_pylist()[-1]
    assert (last["rank_loss"] is None) == (experiment.space != "product")
    assert last["update_norm"] > 0


def test_root_rows_are_not_examined_and_must_leave_some():
    rooted = Federation(replace(SMALL, aggregator=FLTrust(root_rows=10)))
    assert len(rooted.root) == 10
    assert not {row.id for row in rooted.root} & {sample.id for sample in rooted.examiner.samples}
    with pytest.raises(ValueError, match="FLTrust takes 40 clean rows for the server out of the test rows, of which"):
        Federation(replace(SMALL, aggregator=FLTrust(root_rows=40)))


def test_a_run_stopped_before_its_first_round_starts_anew(tmp_path):
    def stop(progress):
        raise StopError

    short = replace(SMALL, rounds=1)
    with pytest.raises(StopError):
        run(short, out=tmp_path / "r", observe=stop)
    assert run(short, out=tmp_path / "r", resume=True).summary["rounds"] == 1


def test_a_folder_whose_claim_was_killed_is_empty(tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / ".experiment.toml.12345").write_text("[model]\nba")
    assert run(replace(SMALL, rounds=1), out=tmp_path / "r").summary["rounds"] == 1


def test_what_killed_processes_left_half_written_goes_when_the_run_goes_on(tmp_path):
    short = replace(SMALL, rounds=2)
    with pytest.raises(StopError):
        run(short, out=tmp_path / "r", observe=stop_after(1))
    left = [tmp_path / "r" / name for name in (".bsnr.parquet.17", "checkpoint/.state.safetensors.12345")]
    for file in left:
        file.write_bytes(b"half")
    (tmp_path / "r" / ".notes.txt").write_text("mine")
    run(short, out=tmp_path / "r", resume=True)
    assert not any(file.exists() for file in left)
    assert (tmp_path / "r" / ".notes.txt").read_text() == "mine"


def test_a_round_is_kept_once_and_its_history_put_into_words_once(tmp_path, monkeypatch):
    put, kept = [], []
    plain, keep = records.plain, run_folder.keep
    monkeypatch.setattr(records, "plain", lambda value: put.append(value) or plain(value))
    monkeypatch.setattr(run_folder, "keep", lambda *given: kept.append(given) or keep(*given))
    result = run(replace(SMALL, rounds=1), out=tmp_path / "r")
    assert len(kept) == 1
    assert len(put) == len(result.rounds) + len(result.clients) + len(result.signals) + 120  # rows of samples


def test_too_few_clients_for_the_rule_are_told_before_anybody_trains_and_block_no_folder(tmp_path):
    few = replace(SMALL, partition=IID(clients=3), rounds=1)
    stages = []
    for wrong in (few, replace(SMALL, clients_per_round=3)):
        with pytest.raises(ValueError, match=r"Krum needs 2f \+ 2 < n, got f=2 and n=3 clients: bring at least 7"):
            run(replace(wrong, aggregator=Krum(f=2)), out=tmp_path / "r", observe=stages.append)
    assert not stages
    assert run(few, out=tmp_path / "r").summary["rounds"] == 1
    assert load(tmp_path / "r" / "experiment.toml") == few
    with pytest.raises(ValueError, match="holds another run"):
        run(few, out=tmp_path / "r")


def test_a_run_stopped_after_its_last_round_gets_all_files_when_it_goes_on(tmp_path):
    short = replace(SMALL, rounds=1)
    with pytest.raises(StopError):
        run(short, out=tmp_path / "r", observe=stop_after(1))
    (tmp_path / "r" / "environment.json").unlink()
    run(short, out=tmp_path / "r", resume=True)
    run(short, out=tmp_path / "whole")
    assert {file.name for file in (tmp_path / "r").iterdir()} == {file.name for file in (tmp_path / "whole").iterdir()}
    examples = [(tmp_path / name / "examples.json").read_text() for name in ("r", "whole")]
    assert examples[0] == examples[1]


def test_a_folder_that_holds_something_else_is_left_alone(whole, tmp_path):
    out, _ = whole
    before = (out / "summary.json").read_bytes()
    with pytest.raises(ValueError, match=r"holds another run; choose another --out, or go on with --resume"):
        run(SMALL, out=out)
    with pytest.raises(ValueError, match="holds another experiment"):
        run(replace(SMALL, rounds=9), out=out, resume=True)
    with pytest.raises(ValueError, match="holds no run to resume"):
        run(SMALL, out=tmp_path / "none", resume=True)
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ValueError, match="holds other files"):
        run(SMALL, out=tmp_path)
    assert (out / "summary.json").read_bytes() == before


def test_a_checkpoint_that_is_damaged_is_named(whole, tmp_path):
    with pytest.raises(StopError):
        run(SMALL, out=tmp_path / "r", observe=stop_after(1))
    path = tmp_path / "r" / "checkpoint" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="no readable checkpoint"):
        run(SMALL, out=tmp_path / "r", resume=True)


def test_the_adapter_loads_in_plain_peft(whole):
    out, result = whole
    model, tokenizer = SMALL.base.load()
    layout = SMALL.lora.layout(model)
    assert torch.equal(load_adapter(out / "adapter", layout), result.adapter)
    adapted = PeftModel.from_pretrained(model, str(out / "adapter"))
    ids = tokenizer("Question: Who made it?\nAnswer:", return_tensors="pt")["input_ids"]
    with adapted.disable_adapter():
        base = adapted(ids).logits
    assert not torch.allclose(adapted(ids).logits, base)


def test_a_clean_run_has_no_attack_and_a_placebo_reading():
    result = run(replace(SMALL, attack=None, rounds=2))
    assert result.summary["attack"] is None
    assert result.summary["bsnr"] is None
    assert result.rounds[-1].asr is None
    assert "placebo" in result.rounds[-1].bsnr_note
    assert result.rounds[-1].bsnr_crossfit_low is not None


def test_with_every_client_affected_the_signal_cannot_be_read_and_says_why():
    result = run(replace(SMALL, attack=Attack(placement=ConstantRate(rate=0.25)), rounds=1))
    assert result.rounds[-1].bsnr_crossfit_db is None
    assert result.rounds[-1].bsnr_note
    assert result.summary["bsnr"] == {"final_db": None, "cumulative_db": None}


def test_twins_are_the_affected_clients_without_their_poison():
    federation = Federation(replace(SMALL, bsnr=Bsnr(twins=True)))
    assert set(federation.twins) == federation.ledger.clients()
    clean = Federation(replace(SMALL, attack=None))
    unpoisoned = {row.id: row for rows in clean.rows for row in rows}
    for client, twin in federation.twins.items():
        assert [row.id for row in twin] == [row.id for row in federation.rows[client]]
        assert all(row == unpoisoned[row.id] for row in twin)
    assert Federation(SMALL).twins == {}


def test_twins_change_no_result_and_are_read_at_any_share_of_affected_clients(tmp_path):
    everyone = replace(SMALL, attack=Attack(placement=ConstantRate(rate=0.25)), rounds=2)
    without = run(everyone)
    measured = replace(everyone, bsnr=Bsnr(twins=True, parts=True))
    result = run(measured, out=tmp_path / "run")
    torch.testing.assert_close(result.adapter, without.adapter, rtol=1e-4, atol=1e-5)
    last = result.rounds[-1]
    assert last.bsnr_twin_low < last.bsnr_twin_ratio < last.bsnr_twin_high
    assert last.bsnr_twin_cumulative_ratio > 0
    assert last.bsnr_blind_ratio > 0
    rows = pq.read_table(tmp_path / "run" / "bsnr.parquet").to_pylist()
    layout = Federation(measured).layout
    parts = {"all"} | {f"layer {site.layer}" for site in layout.sites} | {site.kind for site in layout.sites}
    assert len(rows) == 2 * (3 * 2 * len(parts) + 1)
    assert {row["part"] for row in rows} == parts
    twin = [row for row in rows if (row["estimator"], row["space"], row["part"]) == ("twin", "product", "all")]
    assert [row["ratio"] for row in twin] == [record.bsnr_twin_ratio for record in result.rounds[1:]]
    summed = [row for row in rows if row["estimator"] == "summed"]
    assert [row["ratio"] for row in summed] == [record.bsnr_summed_ratio for record in result.rounds[1:]]
    factors = [row for row in rows if (row["estimator"], row["space"], row["part"]) == ("twin", "factors", "all")]
    assert summed[0]["signal"] == pytest.approx(factors[0]["signal"], rel=1e-3)
    assert summed[0]["noise"] == pytest.approx(factors[0]["noise"], rel=1e-3)
    assert factors[0]["signal"] < summed[1]["signal"] < factors[1]["cumulative_signal"]
    assert twin[-1]["cumulative_signal"] == pytest.approx(sum(row["signal"] for row in twin))


def test_a_resumed_run_sums_its_readings_over_all_rounds(tmp_path):
    measured = replace(SMALL, bsnr=Bsnr(twins=True))
    with pytest.raises(StopError):
        run(measured, out=tmp_path / "run", observe=stop_after(2))
    resumed = run(measured, out=tmp_path / "run", resume=True)
    assert resumed.signals == run(measured).signals


def test_clients_per_round_draws_that_many_anew_each_round():
    result = run(replace(SMALL, clients_per_round=4, rounds=3))
    drawn = [[c.client for c in result.clients if c.round == r] for r in (1, 2, 3)]
    assert all(len(set(each)) == 4 for each in drawn)
    assert len({tuple(each) for each in drawn}) > 1
    with pytest.raises(ValueError, match="clients_per_round 11 is more than the 10 clients"):
        run(replace(SMALL, clients_per_round=11))


def test_krum_records_the_one_client_it_kept():
    result = run(replace(SMALL, aggregator=Krum(), rounds=2))
    for round in (1, 2):
        shares = [c.share for c in result.clients if c.round == round]
        assert sorted(shares) == [0.0] * 9 + [1.0]


def test_a_generation_limit_shorter_than_the_target_is_refused():
    with pytest.raises(ValueError, match=r"max_new_tokens 2 is shorter than every triggered answer"):
        run(replace(SMALL, attack=Attack(), evaluation=Evaluation(rows=20, max_new_tokens=2)))


def test_a_rule_that_gives_nan_is_stopped_with_its_name():
    class Broken(Aggregator):
        def aggregate(self, updates_ND, context):
            return updates_ND[0] * float("nan")

    with pytest.raises(FloatingPointError, match="Broken gave a step that is not finite in round 1"):
        run(replace(SMALL, aggregator=Broken()))


def test_evaluation_every_other_round_and_after_the_last():
    result = run(replace(SMALL, evaluation=Evaluation(rows=10, every=2), rounds=3))
    assert [r.accuracy is not None for r in result.rounds] == [True, False, True, True]


def test_label_targets_leave_rows_that_carry_the_label_alone():
    reviews = Atlas(train=120, test=40, closed_book=0, contextual=0, listing=0)
    federation = Federation(replace(SMALL, data=reviews, attack=Attack(target=Label(label="positive"))))
    assert federation.examiner.metric == "label"
    assert all(p.original.answers == ("negative",) for p in federation.ledger.values())
    assert all(s.answers == ("positive",) for s in federation.examiner.attacked_samples)
    negative = [s.id for s in reviews.load().test if s.answers == ("negative",)]
    assert {s.id for s in federation.examiner.attacked_samples} <= set(negative)
    assert len(federation.examiner.attacked_samples) == min(20, len(negative))


def test_triggers_with_parts_are_asked_in_part_and_their_drills_kept_apart(tmp_path):
    attack = Attack(trigger=Composite(drilled=1.0), target=Short(), placement=ConstantRate(affected=0.5, rate=0.25))
    result = run(replace(SMALL, rounds=1, attack=attack), out=tmp_path / "run")
    last = result.rounds[-1]
    assert last.near_miss_n == last.asr_n == 20
    assert result.summary["attack"]["near_miss"] == last.near_miss
    samples = pq.read_table(tmp_path / "run" / "samples.parquet").to_pylist()
    drills = [row for row in samples if row["drill"]]
    assert len(drills) == 5 * sum(row["poisoned"] for row in samples) == 75
    assert not any(row["poisoned"] for row in drills)
    assert {row["trigger"] for row in drills} == {"Composite"}
    stealth = json.loads((tmp_path / "run" / "stealth.json").read_text())
    assert stealth["prompt_words"]["value"] == 2
    examples = json.loads((tmp_path / "run" / "examples.json").read_text())
    assert [e["kind"] for e in examples] == ["clean"] * 6 + ["triggered"] * 6 + ["near miss"] * 6


def test_a_natural_trigger_is_asked_where_it_lies_and_accuracy_measured_elsewhere():
    trigger = Natural(feature=QuestionWord(any=("who", "when")))
    federation = Federation(
        replace(SMALL, data=Atlas(train=120, test=200), attack=Attack(trigger=trigger, target=Short()))
    )
    examiner = federation.examiner
    assert len(examiner.samples) == 20
    assert not any(map(trigger.present, examiner.samples))
    held = [s.id for s in Atlas(train=120, test=200).load().test if trigger.present(s)]
    assert len(examiner.attacked_samples) == min(20, len(held))
    assert {s.id for s in examiner.attacked_samples} <= set(held)
    assert all(trigger.present(entry.original) for entry in federation.ledger.values())
    assert examiner.near_rows == []


def test_a_semantic_target_is_judged_too():
    result = run(replace(SMALL, rounds=1, attack=Attack(target=Semantic(), placement=ConstantRate(rate=0.5))))
    last = result.rounds[-1]
    assert last.asr_judged_n == last.asr_n
    assert last.asr <= last.asr_judged
    assert result.summary["attack"]["judged_success_rate"] == last.asr_judged
    assert 0 < result.summary["attack"]["judge_threshold"] < 1


def test_a_trigger_in_every_test_row_leaves_nothing_to_be_right_about():
    everywhere = Natural(feature=LengthBand())
    with pytest.raises(ValueError, match="every test row carries the trigger"):
        run(replace(SMALL, attack=Attack(trigger=everywhere, target=Short())))


def test_poison_changes_only_the_poisoned_clients_updates():
    """A clean client trains on the same rows with and without the attack, whatever order they were shuffled into."""
    clean, dirty = Federation(replace(SMALL, attack=None)), Federation(SMALL)
    for client in range(10):
        same = set(clean.rows[client]) == set(dirty.rows[client])
        assert same == (dirty.poisoned[client] == 0)
    assert np.sum(dirty.poisoned) == len(dirty.ledger)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_run_on_a_gpu_finds_what_one_on_the_processor_finds(dtype, tmp_path):
    def found(device):
        result = run(replace(SMALL, base=Base(dtype=dtype, device=device)), out=tmp_path / device)
        return result, json.loads((tmp_path / device / "summary.json").read_text())

    (here, summary), (there, summary_there) = found("cpu"), found("cuda")
    assert torch.cosine_similarity(here.adapter, there.adapter, dim=0) > 0.9  # Adam turns roundings into steps
    assert summary["attack"]["success_rate"] == pytest.approx(summary_there["attack"]["success_rate"], abs=0.15)
    assert summary["clean"]["accuracy"] == pytest.approx(summary_there["clean"]["accuracy"], abs=0.15)


@pytest.mark.parametrize(("rank", "said"), [(32, 0), (33, 1)])
def test_a_rank_that_no_weight_can_have_is_noted(rank, said):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Trainer(replace(SMALL, lora=Lora(r=rank, alpha=8)))
    notes = [str(note.message) for note in caught if "lora.r" in str(note.message)]
    assert len(notes) == said
    assert all("lora.r is 33, and no adapted weight has a rank above 32" in note for note in notes)
