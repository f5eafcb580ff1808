"""Features beside autograd: every kind on Llama's and GPT-2's layouts, tied and untied heads, float32 and bfloat16."""

import warnings

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from fedsonar.data import TokenRow
from fedsonar.model import Lora, network_for, random_adapter
from fedsonar.model.hosted import Hosted, plugged_into
from fedsonar.model.stack import alone
from fedsonar.screen.features import Features, Part
from fedsonar.screen.features import adapter as last_layer

ROWS = [
    TokenRow("a", (1, 2, 3), (4, 5, 6, 7)),
    TokenRow("b", (1, 2, 3, 9), (8,)),
    TokenRow("c", (11, 12), (4, 5, 4, 5, 30, 31, 2)),
    TokenRow("d", (1, 2), (3, 4)),
    TokenRow("e", (1, 2, 3), (4, 5, 6, 7)),
]
PARTS = [Part(), Part("corner", 4), Part("low", 4)]


def model(kind, tied, dtype):
    torch.manual_seed(3)
    if kind == "llama":
        made = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=tied,
            )
        )  # fmt: skip
    else:
        made = GPT2LMHeadModel(
            GPT2Config(vocab_size=40, n_embd=32, n_layer=2, n_head=4, n_positions=64, tie_word_embeddings=tied)
        )
    for p in made.parameters():
        p.data.mul_(3)
        p.requires_grad_(False)
    return made.eval().to(dtype)


@pytest.fixture(
    scope="module",
    params=[(k, t, d) for k in ("llama", "gpt2") for t in (True, False) for d in (torch.float32, torch.bfloat16)],
    ids=lambda p: f"{p[0]}-{'tied' if p[1] else 'untied'}-{str(p[2])[6:]}",
)
def case(request):
    kind, tied, dtype = request.param
    made = model(kind, tied, dtype)
    lora = Lora(target_modules=["q_proj", "v_proj"] if kind == "llama" else ["c_attn"])
    network = network_for(made, lora.layout(made))
    adapter = random_adapter(network.layout, torch.Generator().manual_seed(1)) * 0.5
    return made, network, adapter


def head_gradients(made, network, adapter, states):
    """By autograd: of each row's mean loss by a copy of the output layer, on the states that the model gives it."""
    layer = made.get_output_embeddings()
    found = []
    for row, state in zip(ROWS, states, strict=True):
        weight = layer.weight.detach().float().clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(state.float() @ weight.t(), torch.tensor(row.response))
        loss.backward()
        found.append((loss.item(), weight.grad.numpy()))
    return found


def own_states(made, network, adapter):
    """The model's own hidden states, one row at a time through its own forward pass."""
    layout = network.layout
    factors = alone(layout, adapter if adapter is not None else torch.zeros(layout.dim), made.dtype)
    found = []
    for row in ROWS:
        with torch.no_grad(), plugged_into(made, layout, factors):
            ids = torch.tensor([row.prompt + row.response])
            hidden = made(input_ids=ids, output_hidden_states=True).hidden_states[-1][0]
        found.append(hidden[len(row.prompt) - 1 : -1])
    return found


@pytest.mark.parametrize("with_adapter", [False, True], ids=["base", "adapter"])
def test_states_are_the_models_own(case, with_adapter):
    made, network, adapter = case
    given = adapter if with_adapter else None
    features = Features(network, ROWS, given)
    tolerance = 2e-5 if made.dtype == torch.float32 else 0.06  # rounding of one is about as long as that of the other
    for mine, own in zip(features.states, own_states(made, network, given), strict=True):
        assert mine.shape == own.shape
        assert float((mine - own).abs().max()) <= tolerance * float(own.abs().max())
    assert features.last_states.shape == (5, 32)
    assert np.allclose(features.first_states[0], features.states[0][0].float())
    assert np.allclose(features.mean_states[2], features.states[2].float().mean(0), atol=1e-6)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.kind)
def test_gradients_of_the_output_layer_are_autograds(case, part):
    made, network, adapter = case
    features = Features(network, ROWS, adapter)
    reference = head_gradients(made, network, adapter, features.states)
    assert features.losses == pytest.approx([loss for loss, _ in reference], rel=1e-5)
    parts = []
    for _, gradient in reference:
        shown = dctn(gradient.astype(np.float64), norm="ortho") if part.kind == "low" else gradient
        parts.append(shown if part.kind == "all" else shown[: 40 // 4, : 32 // 4])
    scale = max(np.abs(p).max() for p in parts)
    for mine, expected in zip(features.head.whole(part), parts, strict=True):
        assert np.abs(mine - expected).max() <= 1e-5 * scale
    flat = np.stack([p.reshape(-1) for p in parts]).astype(np.float64)
    products = features.head_products(part)
    assert np.abs(products - flat @ flat.T).max() <= 1e-5 * np.abs(flat @ flat.T).max()
    for mine, expected in zip(features.head_spectra(part, 4), parts, strict=True):
        values = np.linalg.svd(expected.astype(np.float64), compute_uv=False)
        values = np.pad(values, (0, 4))[:4]
        assert np.abs(mine - values).max() <= 1e-5 * max(values[0], 1e-3 * scale)


def test_small_blocks_give_what_one_block_gives(case):
    _, network, adapter = case
    features, whole = Features(network, ROWS, adapter), Features(network, ROWS, adapter)
    features.head.most = 5  # tokens; the longest row has seven
    for part in PARTS:
        assert np.allclose(features.head_products(part), whole.head_products(part), rtol=1e-5, atol=1e-6)
        assert np.allclose(features.head_spectra(part, 4), whole.head_spectra(part, 4), rtol=1e-5, atol=1e-6)
    assert np.allclose(features.head.losses(), whole.losses)


def test_gradients_by_states_are_autograds(case):
    made, network, adapter = case
    features, blocks = Features(network, ROWS, adapter), Features(network, ROWS, adapter)
    blocks.head.most = 5
    weight = made.get_output_embeddings().weight.detach().float()
    for row, state, mine in zip(ROWS, features.states, features.pulls, strict=True):
        read = state.float().clone().requires_grad_()
        losses = torch.nn.functional.cross_entropy(read @ weight.t(), torch.tensor(row.response), reduction="none")
        (losses[:-1] if len(losses) > 1 else losses).sum().backward()
        expected = read.grad.sum(0).numpy()
        assert np.abs(mine - expected).max() <= 1e-5 * np.abs(expected).max()
    assert np.allclose(features.pulls, blocks.pulls, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(features.some([3, 1]).pulls, features.pulls[[3, 1]])


def test_gradients_of_the_last_value_projection_are_autograds(case):
    made, network, _ = case
    found = Features(network, ROWS).value_gradients(rank=3, seed=5)
    layout = last_layer.last_value(network, 3)
    fresh = last_layer.initial_adapter(layout, last_layer.torch_stream(5, "screen/value-gradients"))
    assert found.shape == (5, layout.sites[0].out_features, 3)
    assert layout.sites[0].layer == 1
    tolerance = 1e-5 if made.dtype == torch.float32 else 0.05
    plain = Hosted(made, layout, trees=False)
    for row, mine in zip(ROWS, found, strict=True):
        factors = alone(layout, fresh, made.dtype)
        [(a, b)] = factors.values()
        a, b = a.clone(), b.clone().requires_grad_()
        with plugged_into(made, layout, {layout.sites[0].name: (a, b)}):
            logits = made(input_ids=torch.tensor([row.prompt + row.response])).logits[0]
        loss = torch.nn.functional.cross_entropy(logits[len(row.prompt) - 1 : -1].float(), torch.tensor(row.response))
        loss.backward()
        scale = float(b.grad.abs().max())
        assert np.abs(mine - b.grad[0].float().numpy()).max() <= tolerance * scale
    assert plain.layout is layout


def test_a_bias_of_the_output_layer_counts():
    made = model("llama", False, torch.float32)
    made.lm_head.bias = torch.nn.Parameter(torch.linspace(-2, 2, 40), requires_grad=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = Hosted(made, Lora().layout(made), trees=False)
    features = Features(network, ROWS)
    for row, loss, state in zip(ROWS, features.losses, features.states, strict=True):
        scores = made.lm_head(state)
        expected = torch.nn.functional.cross_entropy(scores, torch.tensor(row.response))
        assert loss == pytest.approx(float(expected), rel=1e-5)


def test_a_model_without_value_projection_is_named():
    class Bare(torch.nn.Module):
        pass

    class Empty:
        model = Bare()

    with pytest.raises(ValueError, match="no value projection among v_proj"):
        last_layer.last_value(Empty(), 4)


def test_clients_share_the_output_layer(case):
    made, network, _ = case
    weights = [Features(network, ROWS).head.weight for _ in range(2)]
    assert weights[0].data_ptr() == weights[1].data_ptr()
    own = made.get_output_embeddings().weight
    assert (weights[0].data_ptr() == own.data_ptr()) == (own.dtype == torch.float32)


def test_no_rows_have_arrays_of_no_rows(case):
    _, network, adapter = case
    none, some = (Features(network, rows, adapter) for rows in ((), ROWS))
    for look in (
        lambda f: f.losses, lambda f: f.pulls, lambda f: f.first_states, lambda f: f.last_states,
        lambda f: f.mean_states, lambda f: f.head.entropies(), lambda f: f.head_spectra(Part("corner", 4), 4),
        lambda f: f.value_gradients(rank=2, seed=0),
    ):  # fmt: skip
        found, expected = look(none), look(some)
        assert (found.dtype, found.shape) == (expected.dtype, (0, *expected.shape[1:]))
    assert none.head_products(Part()).shape == (0, 0)


def test_some_rows_share_what_all_have(case):
    _, network, adapter = case
    whole = Features(network, ROWS, adapter)
    places = [3, 0, 2]
    part, alone = whole.some(places), Features(network, [ROWS[i] for i in places], adapter)
    assert part.rows == alone.rows
    for kind in PARTS:
        assert np.allclose(part.head_spectra(kind, 4), alone.head_spectra(kind, 4), rtol=1e-4, atol=1e-5)
        assert np.allclose(part.head_products(kind), alone.head_products(kind), rtol=1e-3, atol=1e-3)
    assert part.losses.tolist() == whole.losses[places].tolist()
    assert np.array_equal(part.value_gradients(rank=2, seed=0), whole.value_gradients(rank=2, seed=0)[places])
    assert all(state is whole.states[i] for state, i in zip(part.states, places, strict=True))
