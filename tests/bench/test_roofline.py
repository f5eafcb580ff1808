"""The machine's peak, with a clock that is ours."""

import torch

from fedsonar.bench.roofline import block_products, peak_flops
from fedsonar.bench.shapes import Shape


def test_products_of_a_block():
    shape = Shape(vocab=10, hidden=4, intermediate=6, layers=2, heads=2, kv_heads=1)
    attention = [(9, 4, 4)] * 2 + [(9, 4, 2), (9, 2, 4)] * 2 + [(9, 4, 4)] * 2
    assert block_products(shape, 9) == [*attention, *[(9, 4, 6), (9, 6, 4)] * 2, (9, 6, 4), (9, 4, 6)]


def test_peak_weighs_products_by_their_operations(monkeypatch):
    now = 0.0
    mm = torch.mm

    def product(left, right, out):
        nonlocal now
        now += 0.5 if left.shape[0] == 2 else 0.25
        return mm(left, right, out=out)

    monkeypatch.setattr("fedsonar.bench.roofline.torch.mm", product)
    monkeypatch.setattr("fedsonar.bench.roofline.time.perf_counter", lambda: now)
    products = [(2, 3, 4), (5, 3, 4), (5, 3, 4)]
    found = peak_flops(products, dtype=torch.float32, device="cpu", repeats=2)
    assert found == (2 * 2 * 3 * 4 + 2 * (2 * 5 * 3 * 4)) / (0.5 + 0.25 + 0.25)
