"""Padded sequences as rows: the positions that are no padding, one below the other.

Shapes: B batch, P positions of a sequence, N rows, H hidden.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class PackingLayout:
    """Which positions of padded sequences are rows, the others being padding.

    Behind the rows of a mask stand empty ones, which fill up their number; no gradient comes from them. A
    mask that hides nothing is none, as that of images with equally many objects: nothing is copied then.

    Args:
        mask: additive (B, 1, 1, P), 0 where a position is real; None when all are.
        batch: B.
        positions: P.
        multiple: what the number of rows is filled up to.

    Attributes:
        shape: B and P.
        mask: as given; None if it hides nothing.
        has_first_of_each: True when the first position of each sequence is a row.
        has_any_of_each: True when each sequence has a row.
    """

    def __init__(self, mask: Tensor | None, batch: int, positions: int, multiple: int = 1) -> None:
        self.shape = (batch, positions)
        self.mask: Tensor | None = None
        self.has_first_of_each = self.has_any_of_each = True
        self._index: tuple[Tensor, Tensor, int] | None = None
        if mask is None:
            return
        visible = mask[:, 0, 0, :] == 0  # (B, P)
        if bool(visible.all()) and visible.numel() % multiple == 0:
            return
        self.mask = mask
        self.has_first_of_each = bool(visible[:, :1].all())
        self.has_any_of_each = bool(visible.any(dim=1).all())
        real = visible.flatten()  # (B*P,)
        position_of_row = real.nonzero().flatten()  # (N,) without the empty ones
        # A position without a row takes any: its mask hides it.
        row_of_position = (real.cumsum(0) - 1).clamp(min=0)  # (B*P,)
        self._index = (position_of_row, row_of_position, -len(position_of_row) % multiple)

    def pack(self, states: Tensor) -> Tensor:
        """(B, P, H) -> (N, H)."""
        states = states.flatten(0, 1)
        if self._index is None:
            return states
        rows: Tensor = _PackRows.apply(states, *self._index)
        return rows

    def pad(self, rows: Tensor) -> Tensor:
        """(N, H) -> (B, P, H); in padding stands the state of a neighbour."""
        if self._index is not None:
            rows = _PadRows.apply(rows, *self._index)
        return rows.unflatten(0, self.shape)

    def first(self, rows: Tensor) -> Tensor:
        """(N, H) -> (B, H): the rows of the first positions, if all of them are rows."""
        if self._index is None:
            return rows.unflatten(0, self.shape)[:, 0]
        row_of_position = self._index[1]
        return rows.index_select(0, row_of_position[:: self.shape[1]])


class _PackRows(torch.autograd.Function):
    """Positions (B*P, H) to rows (N, H)."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, position_of_row: Tensor, row_of_position: Tensor, empty_rows: int
    ) -> Tensor:
        ctx.index = position_of_row, row_of_position, empty_rows
        return _gather_rows(states, position_of_row, empty_rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        position_of_row, row_of_position, _ = ctx.index
        states_gradient = gradient.new_zeros(len(row_of_position), gradient.shape[1])
        states_gradient.index_copy_(0, position_of_row, gradient[: len(position_of_row)])
        return states_gradient, None, None, None


class _PadRows(torch.autograd.Function):
    """Rows (N, H) to positions (B*P, H). Nobody looks at padding, so no gradient comes from there."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, position_of_row: Tensor, row_of_position: Tensor, empty_rows: int
    ) -> Tensor:
        ctx.index = position_of_row, empty_rows
        return rows.index_select(0, row_of_position)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _gather_rows(gradient, *ctx.index), None, None, None


def _gather_rows(positions: Tensor, position_of_row: Tensor, empty_rows: int) -> Tensor:
    """The positions that are rows, then empty rows of zeros."""
    count = len(position_of_row)
    rows = positions.new_empty(count + empty_rows, positions.shape[1])
    torch.index_select(positions, 0, position_of_row, out=rows[:count])
    rows[count:].zero_()
    return rows
