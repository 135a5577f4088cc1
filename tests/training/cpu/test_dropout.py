"""Dropout: how many numbers fall, by how much the others grow, and what decides which."""

import pytest
import torch

from lxmert.training.cpu.dropout import Dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_share_that_falls_is_the_probability(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    kept = Dropout(0.1).keep_mask(torch.empty(1001, 333, dtype=dtype))
    assert kept is not None
    assert kept.dtype == dtype
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    # Five standard deviations of 333,333 draws.
    assert float((kept == 0).double().mean()) == pytest.approx(0.1, abs=5 * (0.09 / 333_333) ** 0.5)
    # Neighbours, which share a draw of 64 bits, fall independently.
    pairs = (kept[:, :-1] == 0) & (kept[:, 1:] == 0)
    assert float(pairs.double().mean()) == pytest.approx(0.01, abs=0.001)


def test_what_stays_grows_so_that_the_mean_stays() -> None:
    torch.manual_seed(2)
    values = torch.ones(300, 301, requires_grad=True)
    made = Dropout(0.25)(values)
    assert made.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert float(made.detach().mean()) == pytest.approx(1.0, abs=0.01)
    made.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, made.detach())


def test_nothing_falls_with_probability_0_and_everything_with_1() -> None:
    values = torch.arange(3.0)
    assert Dropout(0.0)(values) is values
    assert Dropout(1.0)(values).tolist() == [0.0, 0.0, 0.0]


def test_the_generator_of_torch_decides() -> None:
    values, dropout = torch.ones(7, 5), Dropout(0.5)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, second = dropout(values), dropout(values)
    torch.set_rng_state(state)
    assert torch.equal(dropout(values), first)
    assert not torch.equal(second, first)
