"""Products with frozen weights: the same with and without the processor's own bfloat16."""

import pytest
import torch

from fedsonar.model.compiled import product as module
from fedsonar.model.compiled.product import product


@pytest.fixture(params=[True, False], ids=["own bfloat16", "widened"])
def _processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "multiplies_bfloat16", lambda: request.param)


def _factors(dtype: torch.dtype = torch.bfloat16) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(3)
    left, right, plus = (torch.randn(*shape, generator=draw).to(dtype) for shape in ((64, 96), (96, 32), (64, 32)))
    return left, right, plus


@pytest.mark.usefixtures("_processor")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_is_the_exact_product_rounded_once(dtype: torch.dtype) -> None:
    left, right, plus = _factors(dtype)
    exact = left.double() @ right.double()
    ulp = torch.finfo(dtype).eps
    for addend, wanted in ((None, exact), (plus, exact + plus.double()), (plus[0], exact + plus[0].double())):
        found = product(left, right, plus=addend)
        assert found.dtype == dtype
        # Half a last place of what is stored, and what float32 loses while it adds up.
        allowed = 0.51 * ulp * wanted.abs() + 2e-5
        assert ((found.double() - wanted).abs() <= allowed).all()


@pytest.mark.usefixtures("_processor")
def test_adds_in_place_and_leaves_other_rows() -> None:
    left, right, plus = _factors()
    room = torch.cat([plus, plus])
    wanted = product(left, right, plus=plus)
    found = product(left, right, plus=room[:64], out=room[:64])
    assert found.data_ptr() == room.data_ptr()
    assert torch.equal(room[:64], wanted)
    assert torch.equal(room[64:], plus)


def test_widens_only_where_x86_lacks_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(**found: object) -> bool:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
        return module.multiplies_bfloat16.__wrapped__()

    assert not told(architecture="x86_64", avx2=True, avx512_bf16=False, amx_bf16=False)
    assert told(architecture="x86_64", avx512_bf16=True)
    assert told(architecture="x86_64", amx_bf16=True)
    assert told(architecture="aarch64")
