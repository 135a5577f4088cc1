"""Features and boxes of many images, copied from one data file into the rows of a batch.

64 images of 36 × 2,048 numbers are 19 MB, which a processor copies in 2 ms; a dozen Python calls per
image would add half as much again. So the whole file is viewed once, and each image costs two slices.

Shapes: I images of one data file; B rows of the batch, O objects of a row, N objects of an image, D features.
"""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from lxmert.data.feature_store.encoding import TORCH_DTYPES, copy_serially, view_as_tensor
from lxmert.data.feature_store.layout import DTYPES, record_layout
from lxmert.data.feature_store.manifest import StoreManifest


def copy_images(
    data: memoryview,
    entries: np.ndarray,
    manifest: StoreManifest,
    rows: np.ndarray,
    features: Tensor,
    boxes_xyxy_px: np.ndarray,
) -> None:
    """Copy images into their rows of a batch; what follows their N objects is left unchanged.

    Args:
        data: bytes of the data file.
        entries: (I,) of `ENTRY_DTYPE`.
        manifest: the store's.
        rows: (I,) row of the batch of each image.
        features: (B, O, D) contiguous, of any floating dtype.
        boxes_xyxy_px: (B, O, 4) float32, contiguous.
    """
    dim, dtype = manifest.feature_dim, manifest.feature_dtype
    item_bytes = DTYPES[dtype].itemsize
    copy_features = _feature_copier(data, dtype, features)
    boxes = boxes_xyxy_px.reshape(len(boxes_xyxy_px), -1)
    stored_boxes = _numbers(data, boxes.dtype)
    columns = (rows, entries["data_offset"], entries["objects"], entries["flags"])
    for row, offset, count, flags in zip(*(column.tolist() for column in columns), strict=True):
        copy_features(row, offset // item_bytes, count * dim)
        start = (offset + record_layout(count, dim, dtype, flags).small_offset) // boxes.itemsize
        boxes[row, : count * 4] = stored_boxes[start : start + count * 4]


def _feature_copier(data: memoryview, dtype: str, features: Tensor) -> Callable[[int, int, int], None]:
    """A function (row, start, size) that copies the file's numbers from `start` on to the start of a row."""
    flat = features.view(len(features), -1)
    if features.dtype == TORCH_DTYPES[dtype]:
        # The same dtype: numpy's overhead for a copy is a third of torch's.
        array, stored_array = flat.numpy(), _numbers(data, DTYPES[dtype])

        def copy(row: int, start: int, size: int) -> None:
            array[row, :size] = stored_array[start : start + size]

        return copy
    flat_rows, stored = flat.unbind(), view_as_tensor(_numbers(data, DTYPES[dtype]))

    def convert(row: int, start: int, size: int) -> None:
        # torch converts ten times as fast as numpy.
        copy_serially(stored[start : start + size], flat_rows[row][:size])

    return convert


def _numbers(data: memoryview, dtype: np.dtype) -> np.ndarray:
    """View the whole file as numbers of one dtype; every array in it starts at a multiple of 16 bytes."""
    return np.frombuffer(data, dtype, len(data) // dtype.itemsize)
