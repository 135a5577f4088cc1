"""From the position of an image among all to its part and the position there; of parts or of whole stores.

Shapes: I images.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lxmert.errors import DataError


def locate(position: int, starts: Sequence[int], path: str | Path) -> tuple[int, int]:
    """Return the number of the part with the image at a position, and the image's position in it.

    Args:
        position: of the image among all.
        starts: the position of the first image of each part, then the number of all images.
        path: what is read, for the error.

    Raises:
        DataError: no image at the position.
    """
    if not 0 <= position < starts[-1]:
        raise _outside_error(position, starts, path)
    number = bisect_right(starts, position) - 1
    return number, position - starts[number]


def group_by_part(
    positions: np.ndarray, starts: Sequence[int], path: str | Path
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield for each part with images at `positions` (I,) its number, their rows there, and positions in it.

    For the other arguments and the error see `locate`.
    """
    positions = np.asarray(positions, np.int64)
    if outside := positions[(positions < 0) | (positions >= starts[-1])].tolist():
        raise _outside_error(outside[0], starts, path)
    numbers = np.searchsorted(starts, positions, side="right") - 1
    for number in np.unique(numbers).tolist():
        rows = np.flatnonzero(numbers == number)
        yield number, rows, positions[rows] - starts[number]


def _outside_error(position: int, starts: Sequence[int], path: str | Path) -> DataError:
    return DataError(f"{path}: no image at position {position}; the number of images is {starts[-1]:,}")
