from fractions import Fraction

import numpy as np
import pytest
import torch

from fedsonar.measure import inner_products
from fedsonar.measure.inner_products import gram, gram_by_site
from fedsonar.model.layout import Layout, Site


def make_layout(rank=2, scale=2.0):
    shapes = [("layers.0.q_proj", 5, 4), ("layers.0.v_proj", 3, 6), ("layers.1.q_proj", 5, 4)]
    sites, offset = [], 0
    for name, width_in, width_out in shapes:
        sites.append(Site(name, width_in, width_out, offset))
        offset += rank * (width_in + width_out)
    return Layout(tuple(sites), rank, scale)


def draw(layout, clients, size=1.0, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(layout.dim, generator=generator, dtype=dtype)
    return start, size * torch.randn(clients, layout.dim, generator=generator, dtype=dtype)


def brute_force(layout, start, deltas, keep=lambda site: True):
    total = torch.zeros(len(deltas), len(deltas), dtype=torch.float64)
    before = {site.name: b @ a for site, a, b in layout.factors(start)}
    for site, a, b in layout.factors(start + deltas):
        if keep(site):
            change = layout.scale * (b @ a - before[site.name]).flatten(1)
            total += change @ change.T
    return total.numpy()


@pytest.mark.parametrize(("rank", "clients"), [(1, 1), (2, 7), (4, 12)])
def test_product_equals_the_built_weight_change(rank, clients):
    layout = make_layout(rank)
    start, deltas = draw(layout, clients)
    result = gram(layout, start, deltas)
    expected = brute_force(layout, start, deltas)
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-10 * np.abs(expected).max())
    np.testing.assert_array_equal(result, result.T)


def test_tiny_updates_do_not_cancel():
    """Against exact fractions: subtracting B A would leave no digit at this size."""
    layout = make_layout(rank=2)
    start, deltas = draw(layout, 3, size=2.0**-50)
    changes = [[] for _ in deltas]
    exact_before = [(_exact(a), _exact(b)) for _, a, b in layout.factors(start)]
    for (a, b), (_, da, db) in zip(exact_before, layout.factors(deltas), strict=True):
        for client in range(3):
            after = (b + _exact(db[client])) @ (a + _exact(da[client]))
            changes[client].extend((after - b @ a).ravel())
    expected = [[4 * float(sum(x * y for x, y in zip(one, two, strict=True))) for two in changes] for one in changes]
    np.testing.assert_allclose(gram(layout, start, deltas), expected, rtol=1e-10)


def _exact(matrix):
    return np.array([[Fraction(x) for x in row] for row in matrix.tolist()], dtype=object)


def test_zero_b_at_the_first_round():
    layout = make_layout()
    start, deltas = draw(layout, 4)
    for _, _, b in layout.factors(start):
        b.zero_()
    np.testing.assert_allclose(gram(layout, start, deltas), brute_force(layout, start, deltas), rtol=1e-10)


def test_blocks_of_clients_join_up(monkeypatch):
    layout = make_layout()
    start, deltas = draw(layout, 9)
    whole = gram(layout, start, deltas)
    for clients_a_block in (1, 4):
        monkeypatch.setattr(inner_products, "_BLOCK_ENTRIES", clients_a_block * 9 * layout.rank**2)
        np.testing.assert_allclose(gram(layout, start, deltas), whole, rtol=1e-12)


def test_factors_are_plain_inner_products():
    layout = make_layout()
    start, deltas = draw(layout, 5)
    np.testing.assert_allclose(gram(layout, start, deltas, "factors"), (deltas @ deltas.T).numpy(), rtol=1e-12)


def test_single_precision_is_widened_before_multiplying():
    layout = make_layout()
    start, deltas = draw(layout, 5, dtype=torch.float32)
    for space in ("product", "factors"):
        narrow, wide = gram(layout, start, deltas, space), gram(layout, start.double(), deltas.double(), space)
        np.testing.assert_array_equal(narrow, wide)


@pytest.mark.parametrize("space", ["product", "factors"])
def test_sites_add_up(space):
    layout = make_layout()
    start, deltas = draw(layout, 4)
    by_site = gram_by_site(layout, start, deltas, space)
    assert tuple(by_site) == layout.sites
    np.testing.assert_allclose(sum(by_site.values()), gram(layout, start, deltas, space), rtol=1e-10, atol=1e-10)
    if space == "product":
        q = sum(products for site, products in by_site.items() if site.kind == "q_proj")
        np.testing.assert_allclose(q, brute_force(layout, start, deltas, lambda s: s.kind == "q_proj"), rtol=1e-9)


def test_inputs_stay_unchanged():
    layout = make_layout()
    start, deltas = draw(layout, 3)
    kept = start.clone(), deltas.clone()
    gram(layout, start, deltas)
    assert torch.equal(start, kept[0])
    assert torch.equal(deltas, kept[1])


@pytest.mark.usefixtures("shapes_unchecked")
def test_bad_input_is_named():
    layout = make_layout()
    start, deltas = draw(layout, 3)
    with pytest.raises(ValueError, match="space must be one of product, factors, got 'weights'"):
        gram(layout, start, deltas, "weights")
    with pytest.raises(ValueError, match=f"the layout needs start \\({layout.dim},\\)"):
        gram(layout, start[1:], deltas)
    with pytest.raises(ValueError, match="and deltas"):
        gram(layout, start, deltas[0])
