"""The fused engine against PEFT, client by client."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from peft import get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from fedsonar.data.template import TokenRow
from fedsonar.engine import ClientJob, FusedEngine, Training
from fedsonar.model import Lora, initial_adapter, network_for

PAD = 0


def llama(**changes):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, attn_implementation="sdpa", **changes,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def gpt2():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    return GPT2LMHeadModel(config).eval().requires_grad_(False)


def rows(count, rng, client=0):
    def ids(low, high):
        return tuple(int(i) for i in rng.integers(1, 97, size=int(rng.integers(low, high))))

    return [TokenRow(f"{client}-{i}", ids(3, 20), ids(1, 9)) for i in range(count)]


def train_with_peft(model, lora, layout, job, engine, *, freeze_a=False):
    """One client as plain PEFT trains it: its own adapter, unpadded-by-others batches, PyTorch's AdamW."""
    options = engine.training
    adapted = get_peft_model(model, lora.peft_config())
    weights = {}
    for site, a, b in layout.factors(job.start):
        module = adapted.base_model.model.get_submodule(site.name)
        for factor, holder in ((a, module.lora_A), (b, module.lora_B)):
            parameter = holder["default"].weight
            parameter.data.copy_(factor)
            parameter.requires_grad_(holder is module.lora_B or not freeze_a)
            weights[site.name, holder is module.lora_B] = parameter
    trained = [parameter for parameter in weights.values() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=options.lr, weight_decay=options.weight_decay)
    batches = engine.batches(job)
    losses = []
    for step, batch in enumerate(batches):
        for group in optimiser.param_groups:
            group["lr"] = options.lr * (1 - step / len(batches) if options.schedule == "linear" else 1)
        length = max(len(r.prompt) + len(r.response) for r in batch)
        ids = torch.full((len(batch), length), PAD)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for i, r in enumerate(batch):  # right padding: another arrangement of the same rows
            n, p = len(r.prompt) + len(r.response), len(r.prompt)
            ids[i, :n] = torch.tensor(r.prompt + r.response)
            mask[i, :n] = 1
            labels[i, p:n] = torch.tensor(r.response)
        loss = adapted(input_ids=ids, attention_mask=mask, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, options.max_grad_norm)
        optimiser.step()
        losses.append(loss.item())
    flat = torch.empty(layout.dim)
    for site, a, b in layout.factors(flat):
        a.copy_(weights[site.name, False].data)
        b.copy_(weights[site.name, True].data)
    adapted.unload()
    return flat - job.start, float(np.mean(losses))


def ragged_jobs(layout, dtype=torch.float32):
    """Five clients of 10, 4, 10, 1 and 7 steps, with partial last batches, amid a federation: B not zero."""
    rng = np.random.default_rng(1)
    start = initial_adapter(layout, torch.Generator().manual_seed(3))
    start += 0.01 * torch.randn(layout.dim, generator=torch.Generator().manual_seed(4))
    return [ClientJob(k, 5, rows(n, rng, k), start.to(dtype)) for k, n in enumerate((40, 13, 40, 2, 27))]


@contextmanager
def in_doubles():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


CASES = {
    "llama": (llama, Lora(r=4, alpha=8), Training(lr=1e-2)),
    "llama-all-linear": (llama, Lora(r=3, alpha=6, target_modules="all-linear"), Training(lr=3e-3, weight_decay=0.1)),
    "llama-tied-constant": (
        lambda: llama(tie_word_embeddings=True), Lora(), Training(lr=5e-3, schedule="constant", max_grad_norm=0.1)
    ),
    "gpt2": (gpt2, Lora(r=4, alpha=8), Training(lr=1e-2, epochs=2)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
def test_updates_equal_peft_client_by_client(case):
    make, lora, training = CASES[case]
    model = make()
    layout = lora.layout(model)
    jobs = ragged_jobs(layout)
    engine = FusedEngine(network_for(model, layout), training, seed=7)
    before = jobs[0].start.clone()
    updates = engine.train_round(jobs)
    assert torch.equal(jobs[0].start, before)
    assert [u.client for u in updates] == list(range(5))
    assert [u.num_steps for u in updates] == [training.epochs * -(-len(job.rows) // 4) for job in jobs]
    expected, losses = zip(*(train_with_peft(model, lora, layout, job, engine) for job in jobs), strict=True)
    assert [u.loss for u in updates] == pytest.approx(losses, rel=1e-5)
    found = torch.stack([u.delta for u in updates])
    assert (found - torch.stack(expected)).norm() < 1e-5 * torch.stack(expected).norm()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
def test_each_client_s_update_equals_peft_s_in_double_precision(case):
    """In float32, Adam turns the rounding of one gradient near zero into an update of either sign, PEFT's too."""
    make, lora, training = CASES[case]
    model = make().double()
    layout = lora.layout(model)
    jobs = ragged_jobs(layout, torch.float64)
    engine = FusedEngine(network_for(model, layout), training, seed=7)
    for job, update in zip(jobs, engine.train_round(jobs), strict=True):
        with in_doubles():
            expected, loss = train_with_peft(model, lora, layout, job, engine)
        assert (update.delta - expected).norm() < 5e-6 * expected.norm(), f"client {job.client}"
        assert update.loss == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("case", ["llama", "llama-all-linear"])
def test_with_a_frozen_each_update_equals_that_of_peft_training_b_alone(case):
    make, lora, training = CASES[case]  # the second with weight decay, which must leave A alone too
    model = make().double()
    layout = lora.layout(model)
    engine = FusedEngine(network_for(model, layout), training, seed=7, freeze_a=True)
    jobs = ragged_jobs(layout, torch.float64)
    for job, update in zip(jobs, engine.train_round(jobs), strict=True):
        with in_doubles():
            expected, _ = train_with_peft(model, lora, layout, job, engine, freeze_a=True)
        assert (update.delta - expected).norm() < 5e-6 * expected.norm(), f"client {job.client}"
        assert all((a == 0).all() for _, a, _ in layout.factors(update.delta))


def test_passes_do_not_change_the_result():
    model, lora = llama(), Lora()
    layout = lora.layout(model)
    rng = np.random.default_rng(2)
    start = initial_adapter(layout, torch.Generator().manual_seed(3))
    jobs = [ClientJob(k, 1, rows(9 + k, rng, k), start) for k in range(5)]
    whole = FusedEngine(network_for(model, layout), Training(lr=1e-2), seed=1).train_round(jobs)
    narrow = FusedEngine(network_for(model, layout), Training(lr=1e-2), seed=1, pass_tokens=50).train_round(jobs)
    for a, b in zip(whole, narrow, strict=True):
        assert (a.delta - b.delta).norm() < 1e-5 * a.delta.norm()


def test_the_same_job_gives_the_same_bits_and_another_seed_does_not():
    model, lora = llama(), Lora()
    layout = lora.layout(model)
    start = initial_adapter(layout, torch.Generator().manual_seed(3))
    jobs = [ClientJob(0, 1, rows(12, np.random.default_rng(2)), start)]
    first, second, other = (
        FusedEngine(network_for(model, layout), Training(lr=1e-2), seed=seed).train_round(jobs)[0].delta
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_job_without_rows_changes_nothing_and_stops_no_other():
    model = llama()
    layout = Lora().layout(model)
    engine = FusedEngine(network_for(model, layout), Training(), seed=0)
    some = ragged_jobs(layout)[1]
    none = ClientJob(7, 5, [], some.start)
    [alone] = engine.train_round([some])
    for jobs in ([none], [none, some]):
        first, *others = engine.train_round(jobs)
        assert (first.client, first.num_rows, first.num_steps) == (7, 0, 0)
        assert np.isnan(first.loss)
        assert not first.delta.any()
        assert all(torch.equal(other.delta, alone.delta) for other in others)


def test_a_loss_that_is_not_finite_names_client_and_round():
    model, lora = llama(), Lora()
    layout = lora.layout(model)
    start = initial_adapter(layout, torch.Generator().manual_seed(3))
    broken = start.clone()
    broken[0] = float("nan")
    jobs = [
        ClientJob(0, 3, rows(4, np.random.default_rng(2)), start),
        ClientJob(6, 3, rows(4, np.random.default_rng(2)), broken),
    ]
    with pytest.raises(FloatingPointError, match=r"client 6 .* round 3"):
        FusedEngine(network_for(model, layout), Training(), seed=1).train_round(jobs)


def test_the_model_is_left_as_it_was():
    model, lora = llama(), Lora()
    layout = lora.layout(model)
    names = [name for name, _ in model.named_modules()]
    ids = torch.arange(1, 9)[None]
    before = model(ids).logits
    start = initial_adapter(layout, torch.Generator().manual_seed(3))
    FusedEngine(network_for(model, layout), Training(), seed=1).train_round(
        [ClientJob(0, 1, rows(4, np.random.default_rng(2)), start)]
    )
    assert [name for name, _ in model.named_modules()] == names
    assert torch.equal(model(ids).logits, before)


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_on_a_gpu_updates_are_those_of_the_processor(case):
    make, lora, training = CASES[case]
    model = make().double()
    layout = lora.layout(model)
    jobs = ragged_jobs(layout, torch.float64)
    expected = FusedEngine(network_for(model, layout), training, seed=7).train_round(jobs)
    engine = FusedEngine(network_for(model.cuda(), layout), training, seed=7)
    for update, there in zip(engine.train_round(jobs), expected, strict=True):
        assert update.delta.device.type == "cpu"
        assert (update.delta - there.delta).norm() < 5e-6 * there.delta.norm(), f"client {there.client}"
        assert update.loss == pytest.approx(there.loss, rel=1e-6)
