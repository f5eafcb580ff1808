"""Work done side by side: the same results, each thread with one of PyTorch's."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from transformers import LlamaConfig, LlamaForCausalLM

from fedsonar.compiling import Lanes, shared_out
from fedsonar.data.template import TokenRow
from fedsonar.model import AdapterStack, Lora, random_adapter
from fedsonar.model.compiled import CompiledLlama
from fedsonar.processes import cores


@pytest.fixture
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def test_lanes_work_side_by_side_in_order_and_with_one_thread_each(two_threads):
    both = threading.Barrier(2, timeout=20)  # passed only by two at a time

    def work(share):
        both.wait()
        return share, torch.get_num_threads(), threading.get_ident()

    lanes = Lanes()
    assert lanes.count == 2
    found = lanes.each(work, list("abcdefgh"))
    assert [share for share, _, _ in found] == list("abcdefgh")
    assert {threads for _, threads, _ in found} == {1}
    assert threading.get_ident() in {ident for _, _, ident in found}
    assert torch.get_num_threads() == 2


def test_the_first_to_end_is_not_the_first_in_the_results(two_threads):
    second_done = threading.Event()

    def work(share):
        if share == "first":
            assert second_done.wait(20)
        else:
            second_done.set()
        return share

    assert Lanes().each(work, ["first", "second"]) == ["first", "second"]


def test_nobody_s_thread_count_is_restored_while_another_works(two_threads, monkeypatch):
    here, told, both = threading.get_ident(), [], threading.Barrier(2, timeout=20)
    change = torch.set_num_threads
    monkeypatch.setattr(torch, "set_num_threads", lambda count: (told.append(count), change(count))[1])

    def work(_):
        both.wait()
        if threading.get_ident() != here:
            time.sleep(0.3)  # the caller is done long before
            told.append("done")

    Lanes().each(work, [0, 1])
    assert told == [1, 1, "done", 2]


def test_an_error_is_passed_on_and_the_thread_count_restored(two_threads):
    lanes = Lanes()

    def work(share):
        if share == 1:
            raise RuntimeError("lost")
        return share

    with pytest.raises(RuntimeError, match="lost"):
        lanes.each(work, [0, 1, 2])
    assert torch.get_num_threads() == 2
    assert lanes.each(work, [0, 2]) == [0, 2]


def test_a_single_share_or_thread_needs_no_lane(two_threads):
    def work(_):
        return threading.get_ident(), torch.get_num_threads()

    lanes, here = Lanes(), threading.get_ident()
    assert lanes.each(work, ["one"]) == [(here, 2)]
    assert lanes.each(work, []) == []
    torch.set_num_threads(1)
    assert lanes.each(work, ["one", "two"]) == [(here, 1)] * 2


def test_lanes_follow_the_thread_count(two_threads):
    lanes = Lanes()
    lanes.each(str, [1, 2])
    torch.set_num_threads(3)
    three = threading.Barrier(3, timeout=20)
    assert len(lanes.each(lambda _: three.wait(), [1, 2, 3])) == 3
    assert torch.get_num_threads() == 3


@given(costs=st.lists(st.floats(0.1, 100), max_size=20), lanes=st.integers(1, 6))
def test_shares_are_stretches_that_weigh_about_the_same(costs, lanes):
    shares = shared_out(costs, lanes)
    assert [place for share in shares for place in share] == list(range(len(costs)))
    assert len(shares) <= lanes
    assert all(shares)
    loads = [sum(costs[place] for place in share) for share in shares]
    assert max(loads, default=0) <= sum(costs) / lanes + max(costs, default=0) + 1e-6


def test_a_place_goes_where_most_of_it_belongs():
    assert shared_out([1, 1, 2, 9, 3], 2) == [range(3), range(3, 5)]
    assert shared_out([1, 1, 1], 1) == [range(3)]
    assert shared_out([9, 1], 3) == [range(1), range(1, 2)]
    assert shared_out([], 3) == []


def network_and_step():
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                    num_key_value_heads=2, bos_token_id=0, eos_token_id=0)
    ).eval().requires_grad_(False)  # fmt: skip
    layout = Lora(r=2, target_modules="all-linear").layout(model)
    draw = torch.Generator().manual_seed(1)
    adapters = torch.stack([random_adapter(layout, draw) for _ in range(3)])

    def row(i):
        lengths = torch.randint(1, 12, (2,), generator=draw).tolist()
        return TokenRow(str(i), *(tuple(torch.randint(2, 61, (n,), generator=draw).tolist()) for n in lengths))

    batches = [[row(i) for i in range(count)] for count in (12, 5, 1)]

    def step(network):
        stack = AdapterStack(layout, adapters)
        return network.add_gradients(stack, batches, pass_tokens=40), stack.grad

    prompts = [batch.prompt for rows in batches for batch in rows]
    network = CompiledLlama(model, layout)
    network.least_work = 1
    return network, step, adapters[0], prompts


@pytest.mark.parametrize("threads", [2, 5])
def test_a_step_is_the_same_in_lanes_and_has_the_same_bits_each_time(two_threads, threads):
    torch.set_num_threads(threads)  # of 18 rows the first client has 12: it is in several lanes
    network, step, _, _ = network_and_step()
    seen = set()
    train = network._train
    network._train = lambda *arguments: (seen.add(threading.get_ident()), train(*arguments))[1]
    losses, grad = step(network)
    assert len(seen) > 1
    again, grad_again = step(network)
    assert again.equal(losses)
    assert grad_again.equal(grad)
    torch.set_num_threads(1)
    alone, grad_alone = step(network)
    assert torch.allclose(losses, alone, rtol=1e-5)
    assert (grad - grad_alone).norm(dim=1).max() < 1e-5 * grad_alone.norm(dim=1).min()


def test_little_work_is_done_in_one_lane_with_all_threads(two_threads):
    network, step, _, _ = network_and_step()
    network.least_work = 10_000
    seen = set()
    train = network._train
    network._train = lambda *given: (seen.add((threading.get_ident(), torch.get_num_threads())), train(*given))[1]
    step(network)
    assert seen == {(threading.get_ident(), 2)}


def test_few_lanes_divide_the_threads(two_threads):
    torch.set_num_threads(5)
    assert Lanes().each(lambda _: torch.get_num_threads(), [1, 2]) == [2, 2]
    assert torch.get_num_threads() == 5


def test_answers_are_the_same_in_two_lanes(two_threads):
    network, _, adapter, prompts = network_and_step()
    arguments = {"limit": 6, "stops": frozenset(range(8)), "together": 4}
    found = network.answers(adapter, prompts, **arguments)
    torch.set_num_threads(1)
    assert found == network.answers(adapter, prompts, **arguments)
    assert len({tuple(answer) for answer in found}) > 3


@pytest.mark.parametrize(("told", "count"), [("3", "3"), ("2,1", "2"), ("", str(cores())), ("0", str(cores()))])
def test_without_pytorch_the_environment_says_how_many_threads_there_are(told, count):
    code = (
        "import sys; from fedsonar.compiling import Lanes; lanes = Lanes(); "
        "print(lanes.count, lanes.each(lambda share: share + 1, [1, 2, 3, 4]), 'torch' in sys.modules)"
    )
    environment = os.environ | {"OMP_NUM_THREADS": told}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == f"{count} [2, 3, 4, 5] False"
