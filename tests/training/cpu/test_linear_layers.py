"""Joined linear layers and matrix products against torch's own."""

import pytest
import torch
from torch import Tensor, nn

from lxmert.cpu import onednn_linear
from lxmert.training.cpu import linear_layers
from lxmert.training.cpu.linear_layers import linear, matmul


def layers() -> list[nn.Linear]:
    torch.manual_seed(1)
    return [nn.Linear(5, units, dtype=torch.float64) for units in (3, 7)]


@pytest.mark.parametrize("after_gelu", [False, True])
def test_joined_layers_give_outputs_and_gradients_of_separate_layers(after_gelu: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(4, 5, dtype=torch.float64, generator=generator)
    factors = torch.randn(4, 10, dtype=torch.float64, generator=generator)

    def run(concatenated: bool) -> list[Tensor]:
        inputs, both = values.clone().requires_grad_(), layers()
        if concatenated:
            made = linear(inputs, *both, after_gelu=after_gelu)
        else:
            seen = nn.functional.gelu(inputs) if after_gelu else inputs
            made = torch.cat([layer(seen) for layer in both], dim=1)
        (made * factors).sum().backward()
        parameters = [parameter for layer in both for parameter in layer.parameters()]
        return [made, *(one.grad for one in (inputs, *parameters) if one.grad is not None)]

    ours, theirs = run(concatenated=True), run(concatenated=False)
    assert len(ours) == len(theirs) == 6
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_bfloat16_products_give_float32_weight_gradients() -> None:
    torch.manual_seed(3)
    layer = nn.Linear(5, 3)
    values = torch.randn(9, 5).bfloat16().requires_grad_()
    made = linear(values, layer)
    assert made.dtype == torch.bfloat16
    made.sum().backward()
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    assert values.grad is not None
    assert (layer.weight.grad.dtype, layer.bias.grad.dtype) == (torch.float32, torch.float32)
    # The sum's gradient is 1 everywhere.
    expected = values.detach().float().sum(dim=0).expand(3, 5)
    torch.testing.assert_close(layer.weight.grad, expected, rtol=0.01, atol=0.01)
    torch.testing.assert_close(layer.bias.grad, torch.full((3,), 9.0))


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here")
def test_gradients_by_onednn_are_those_by_mkl(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(6)
    # Small integers: exact in float32, and so are their sums.
    values = torch.randint(-3, 4, (9, 5), generator=generator).float().requires_grad_()
    factors = torch.randint(-3, 4, (9, 7), generator=generator).float()
    layer = nn.Linear(5, 7)
    nn.init.constant_(layer.weight, 2)
    calls = []
    monkeypatch.setattr(linear_layers, "prefers_onednn", lambda: True)
    monkeypatch.setattr(
        linear_layers, "onednn_linear", lambda *given: calls.append(given) or onednn_linear(*given)
    )
    (linear(values, layer) * factors).sum().backward()
    assert len(calls) == 3, "forward, and the gradients of values and weights"
    assert layer.weight.grad is not None
    assert values.grad is not None
    assert torch.equal(layer.weight.grad, factors.t() @ values.detach())
    assert torch.equal(values.grad, factors @ layer.weight.detach())


@pytest.mark.parametrize("with_bias", [False, True])
def test_matmul_split_into_row_pieces_equals_whole_product(
    with_bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_layers, "has_amx", lambda: True)
    monkeypatch.setattr(linear_layers, "_SLOW_ROWS", range(7, 8))
    monkeypatch.setattr(linear_layers, "_PIECE_ROWS", 3)
    generator = torch.Generator().manual_seed(4)
    # Small integers: exact in bfloat16, and so are their sums.
    left = torch.randint(-3, 4, (7, 5), generator=generator)
    right = torch.randint(-3, 4, (5, 6), generator=generator)
    bias = torch.arange(6)
    made = matmul(left.bfloat16(), right.bfloat16(), bias.bfloat16() if with_bias else None)
    assert torch.equal(made, (left @ right + (bias if with_bias else 0)).bfloat16())


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here")
def test_products_of_onednn_are_those_of_mkl_whatever_the_strides(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(5)
    left = torch.randint(-9, 10, (6, 11), generator=generator)
    right = torch.randint(-9, 10, (11, 7), generator=generator)
    bias = torch.arange(7)
    expected = left @ right + bias
    calls = []

    def noted(*values: Tensor | None) -> Tensor:
        calls.append(values)
        return onednn_linear(*values)  # type: ignore[arg-type]

    monkeypatch.setattr(linear_layers, "onednn_linear", noted)
    monkeypatch.setattr(linear_layers, "prefers_onednn", lambda: True)
    for one in (left, left.t().contiguous().t()):
        for other in (right, right.t().contiguous().t()):
            made = matmul(one.float(), other.float(), bias.float())
            assert torch.equal(made, expected.float())
            assert torch.equal(matmul(one.float(), other.float()), (expected - bias).float())
    assert len(calls) == 8
    # float64 has no product there.
    assert torch.equal(matmul(left.double(), right.double()), (expected - bias).double())
    assert len(calls) == 8
