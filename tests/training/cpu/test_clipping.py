"""Gradient clipping against torch's `clip_grad_norm_`."""

import pytest
import torch

from lxmert.training.cpu.clipping import clip_gradients


def parameters(scale: float) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    made = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((3, 5), (7,), (2,))]
    for one in made[:2]:
        one.grad = torch.randn(one.shape, generator=generator) * scale
    return made


@pytest.mark.parametrize("scale", [10.0, 0.001])
def test_large_gradients_are_scaled_down_and_small_ones_left(scale: float) -> None:
    ours, theirs = parameters(scale), parameters(scale)
    norm = clip_gradients(ours, 1.0)
    torch.testing.assert_close(norm, torch.nn.utils.clip_grad_norm_(theirs, 1.0))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    left = torch.stack([one.grad.norm() for one in ours if one.grad is not None]).norm()
    assert float(left) == pytest.approx(min(1.0, float(norm)), rel=1e-4)


def test_missing_or_zero_gradients_have_norm_zero() -> None:
    assert clip_gradients([torch.nn.Parameter(torch.zeros(3))], 1.0) == 0
    zero = torch.nn.Parameter(torch.zeros(3))
    zero.grad = torch.zeros(3)
    assert clip_gradients([zero], 1.0) == 0
    assert zero.grad.tolist() == [0.0, 0.0, 0.0]
