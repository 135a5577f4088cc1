"""Dropout on a CPU: the share of dropped values, the scale of the kept ones, and the random generator."""

import pytest
import torch

from lxmert.training.cpu.dropout import Dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keep_mask_drops_values_independently_with_given_probability(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    kept = Dropout(0.1).keep_mask(torch.empty(1001, 333, dtype=dtype))
    assert kept is not None
    assert kept.dtype == dtype
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    # Five standard deviations of 333,333 draws.
    assert float((kept == 0).double().mean()) == pytest.approx(0.1, abs=5 * (0.09 / 333_333) ** 0.5)
    # Neighbours, which share a draw of 64 bits, are dropped independently.
    pairs = (kept[:, :-1] == 0) & (kept[:, 1:] == 0)
    assert float(pairs.double().mean()) == pytest.approx(0.01, abs=0.001)


def test_kept_values_are_scaled_to_preserve_the_mean() -> None:
    torch.manual_seed(2)
    values = torch.ones(300, 301, requires_grad=True)
    made = Dropout(0.25)(values)
    assert made.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert float(made.detach().mean()) == pytest.approx(1.0, abs=0.01)
    made.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, made.detach())


def test_probability_zero_drops_nothing_and_one_drops_everything() -> None:
    values = torch.arange(3.0)
    assert Dropout(0.0)(values) is values
    assert Dropout(1.0)(values).tolist() == [0.0, 0.0, 0.0]


def test_dropout_is_drawn_from_torch_generator() -> None:
    values, dropout = torch.ones(7, 5), Dropout(0.5)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, second = dropout(values), dropout(values)
    torch.set_rng_state(state)
    assert torch.equal(dropout(values), first)
    assert not torch.equal(second, first)
