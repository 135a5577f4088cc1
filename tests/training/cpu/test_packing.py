"""Sequences as packed rows: which positions become rows, and gradients through packing and padding."""

import pytest
import torch

from lxmert.training.cpu.packing import PackingLayout


def test_packed_rows_are_padded_to_multiple_with_zeros_without_gradient() -> None:
    mask = torch.tensor([[0.0, 0.0, -9.0], [0.0, -9.0, 0.0], [0.0, 0.0, 0.0]])[:, None, None, :]
    rows = PackingLayout(mask, 3, 3, multiple=4)
    states = torch.arange(18.0).reshape(3, 3, 2).requires_grad_()
    packed = rows.pack(states)
    assert packed[:, 0].tolist() == [0.0, 2.0, 6.0, 10.0, 12.0, 14.0, 16.0, 0.0]
    packed.retain_grad()
    padded = rows.pad(packed * 3)
    assert padded[1, :, 1].tolist() == [21.0, 21.0, 33.0]
    (padded * torch.arange(1.0, 10.0).reshape(3, 3, 1)).sum().backward()
    assert packed.grad is not None
    assert states.grad is not None
    # Three times the factor of each real place.
    assert packed.grad[:, 0].tolist() == [3.0, 6.0, 12.0, 18.0, 21.0, 24.0, 27.0, 0.0]
    assert states.grad[..., 0].tolist() == [[3.0, 6.0, 0.0], [12.0, 0.0, 18.0], [21.0, 24.0, 27.0]]


@pytest.mark.parametrize(("multiple", "copies"), [(1, False), (3, False), (4, True)])
def test_unmasked_states_are_copied_only_to_fill_up_rows(multiple: int, copies: bool) -> None:
    states = torch.arange(12.0).reshape(3, 2, 2)
    rows = PackingLayout(torch.zeros(3, 1, 1, 2), 3, 2, multiple)
    packed = rows.pack(states)
    padded = rows.pad(packed)
    assert packed[:6].tolist() == states.flatten(0, 1).tolist()
    assert padded.tolist() == states.tolist()
    assert rows.first(packed).tolist() == states[:, 0].tolist()
    assert (rows.has_first_of_each, rows.has_any_of_each) == (True, True)
    addresses = {states.data_ptr(), packed.data_ptr(), padded.data_ptr()}
    assert len(addresses) == (3 if copies else 1)
