"""Sequences as rows: which places are rows, and what becomes of gradients."""

import torch

from lxmert.training.cpu.rows import Rows


def test_rows_are_filled_up_with_zeros_that_get_no_gradient() -> None:
    mask = torch.tensor([[0.0, 0.0, -9.0], [0.0, -9.0, 0.0], [0.0, 0.0, 0.0]])[:, None, None, :]
    rows = Rows(mask, 3, 3, multiple=4)
    states = torch.arange(18.0).reshape(3, 3, 2).requires_grad_()
    packed = rows.packed(states)
    assert packed[:, 0].tolist() == [0.0, 2.0, 6.0, 10.0, 12.0, 14.0, 16.0, 0.0]
    packed.retain_grad()
    padded = rows.padded(packed * 3)
    assert padded[1, :, 1].tolist() == [21.0, 21.0, 33.0]
    (padded * torch.arange(1.0, 10.0).reshape(3, 3, 1)).sum().backward()
    assert packed.grad is not None
    assert states.grad is not None
    # Three times the factor of each real place.
    assert packed.grad[:, 0].tolist() == [3.0, 6.0, 12.0, 18.0, 21.0, 24.0, 27.0, 0.0]
    assert states.grad[..., 0].tolist() == [[3.0, 6.0, 0.0], [12.0, 0.0, 18.0], [21.0, 24.0, 27.0]]
