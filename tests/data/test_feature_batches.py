"""read_batch: many images at once, the rows they are written to, and rejected requests."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lxmert.data.feature_store import FeatureStore
from lxmert.data.joined_stores import JoinedStores
from lxmert.data.region_source import open_regions
from lxmert.errors import DataError
from tests.data.stores import DIM, random_regions, write_store

COUNTS = (3, 0, 5, 2, 5)
IMAGES = [random_regions(n, count, labels=n % 2 == 0) for n, count in enumerate(COUNTS)]


@pytest.fixture(params=["float32", "float16"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FeatureStore:
    """Five images that two ranks wrote, so that they lie in two files."""
    for rank, numbers in enumerate(((0, 1, 2), (3, 4))):
        images = {f"image{n}": IMAGES[n] for n in numbers}
        write_store(tmp_path / "store", images, request.param, rank)
    return FeatureStore(tmp_path / "store")


def empty_batch(rows: int, dtype: torch.dtype, objects: int = 6) -> tuple[torch.Tensor, np.ndarray]:
    return torch.full((rows, objects, DIM), -7.0, dtype=dtype), np.full((rows, objects, 4), -7.0, np.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_read_batch_writes_each_image_to_its_row_and_keeps_the_rest(
    store: FeatureStore, dtype: torch.dtype
) -> None:
    features, boxes = empty_batch(7, dtype)
    order, rows = np.array([4, 1, 0, 3, 4, 2]), np.array([6, 5, 3, 0, 1, 2])
    sizes_hw = store.read_batch(order, features, boxes, rows)
    assert sizes_hw.tolist() == [list(IMAGES[number].size_hw) for number in order]
    stored = {"float32": torch.float32, "float16": torch.float16}[store.manifest.feature_dtype]
    for row in range(7):
        regions = dict(zip(rows.tolist(), order.tolist(), strict=True)).get(row)
        count = 0 if regions is None else COUNTS[regions]
        if regions is not None:
            assert torch.equal(features[row, :count], IMAGES[regions].features.to(stored).to(dtype))
            assert np.array_equal(boxes[row, :count], IMAGES[regions].boxes_xyxy_px.numpy())
        assert bool((features[row, count:] == -7).all())
        assert bool((boxes[row, count:] == -7).all())


def test_read_batch_without_rows_uses_order_of_positions(store: FeatureStore) -> None:
    features, boxes = empty_batch(2, torch.float64)
    store.read_batch(np.array([3, 0]), features, boxes)
    again, boxes_again = empty_batch(2, torch.float64)
    store.read_batch(np.array([0, 3]), again, boxes_again, np.array([1, 0]))
    assert torch.equal(features, again)
    assert np.array_equal(boxes, boxes_again)


def test_read_batch_rejects_unknown_positions_and_arrays_of_wrong_shape(store: FeatureStore) -> None:
    for read, image_count in ((store, 5), (JoinedStores([store, store]), 10)):
        for outside in (image_count, -1):
            with pytest.raises(DataError, match=f"no image at position {outside}; .* {image_count}"):
                read.read_batch(np.array([0, outside]), *empty_batch(2, torch.float32))
        with pytest.raises(
            DataError,
            match=r"up to 5 objects with 7 features each, but the arrays to fill have shape \(2, 4, 7\)",
        ):
            read.read_batch(np.array([0, 2]), *empty_batch(2, torch.float32, objects=4))
    features, boxes = empty_batch(2, torch.float32)
    with pytest.raises(DataError, match=r"arrays to fill have shape \(2, 6, 6\)"):
        store.read_batch(np.array([0, 2]), features[..., :6].contiguous(), boxes)
    with pytest.raises(DataError, match=r"\(2, 5, 4\) for boxes"):
        store.read_batch(np.array([0, 2]), features, boxes[:, :5].copy())
    assert bool((features == -7).all())


def test_batch_of_images_without_objects_is_padding(tmp_path: Path) -> None:
    store = FeatureStore(write_store(tmp_path / "s", {"a": random_regions(1, 0), "b": random_regions(2, 0)}))
    batch = open_regions(store, ["b", "a"], in_memory_bytes=0).batch(torch.tensor([1, 0]))
    assert batch["visual_feats"].tolist() == [[[0.0] * DIM]] * 2
    assert batch["visual_attention_mask"].tolist() == [[0], [0]]
    assert store["a"].features.shape == (0, DIM)
