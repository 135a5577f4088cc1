"""Padded sequences as rows: the places that are no padding, one below the other.

Shapes: B batch, P places of a sequence, N rows, H hidden.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Rows:
    """Which places of padded sequences are rows, the others being padding.

    Behind the rows of a mask stand empty ones, which fill up their number; no gradient comes from them. A
    mask that hides nothing is none, as that of images with equally many objects: nothing is copied then.

    Args:
        mask: additive (B, 1, 1, P), 0 where a place is real; None when all are.
        batch: B.
        places: P.
        multiple: what the number of rows is filled up to.

    Attributes:
        shape: B and P.
        mask: as given; None if it hides nothing.
        have_first: True when the first place of each sequence is a row.
        have_any: True when each sequence has a row.
    """

    def __init__(self, mask: Tensor | None, batch: int, places: int, multiple: int = 1) -> None:
        self.shape = (batch, places)
        self.mask: Tensor | None = None
        self.have_first = self.have_any = True
        self._index: tuple[Tensor, Tensor, int] | None = None
        if mask is None:
            return
        visible = mask[:, 0, 0, :] == 0  # (B, P)
        if bool(visible.all()) and visible.numel() % multiple == 0:
            return
        self.mask = mask
        self.have_first = bool(visible[:, :1].all())
        self.have_any = bool(visible.any(dim=1).all())
        real = visible.flatten()  # (B*P,)
        place_of_row = real.nonzero().flatten()  # (N,) without the empty ones
        # A place without a row takes any: its mask hides it.
        row_of_place = (real.cumsum(0) - 1).clamp(min=0)  # (B*P,)
        self._index = (place_of_row, row_of_place, -len(place_of_row) % multiple)

    def packed(self, states: Tensor) -> Tensor:
        """(B, P, H) -> (N, H)."""
        states = states.flatten(0, 1)
        if self._index is None:
            return states
        rows: Tensor = _Packed.apply(states, *self._index)
        return rows

    def padded(self, rows: Tensor) -> Tensor:
        """(N, H) -> (B, P, H); in padding stands the state of a neighbour."""
        if self._index is not None:
            rows = _Padded.apply(rows, *self._index)
        return rows.unflatten(0, self.shape)

    def first(self, rows: Tensor) -> Tensor:
        """(N, H) -> (B, H): the rows of the first places, if all of them are rows."""
        if self._index is None:
            return rows.unflatten(0, self.shape)[:, 0]
        row_of_place = self._index[1]
        return rows.index_select(0, row_of_place[:: self.shape[1]])


class _Packed(torch.autograd.Function):
    """Places (B*P, H) to rows (N, H)."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, place_of_row: Tensor, row_of_place: Tensor, empty: int) -> Tensor:
        ctx.index = place_of_row, row_of_place, empty
        return _rows(states, place_of_row, empty)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        place_of_row, row_of_place, _ = ctx.index
        of_states = gradient.new_zeros(len(row_of_place), gradient.shape[1])
        of_states.index_copy_(0, place_of_row, gradient[: len(place_of_row)])
        return of_states, None, None, None


class _Padded(torch.autograd.Function):
    """Rows (N, H) to places (B*P, H). Nobody looks at padding, so no gradient comes from there."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, place_of_row: Tensor, row_of_place: Tensor, empty: int) -> Tensor:
        ctx.index = place_of_row, empty
        return rows.index_select(0, row_of_place)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _rows(gradient, *ctx.index), None, None, None


def _rows(places: Tensor, place_of_row: Tensor, empty: int) -> Tensor:
    """The places that are rows, then empty rows of zeros."""
    count = len(place_of_row)
    rows = places.new_empty(count + empty, places.shape[1])
    torch.index_select(places, 0, place_of_row, out=rows[:count])
    rows[count:].zero_()
    return rows
