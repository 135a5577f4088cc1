"""RegionTable: its batches equal `pad_regions` of the images, cut to each batch."""

import pytest
import torch

from lxmert.data import region_table
from lxmert.data.region_table import RegionTable, table_bytes
from lxmert.errors import DataError
from lxmert.vision.padding import pad_regions
from tests.data.stores import random_regions

COUNTS = {"a": 3, "b": 0, "c": 5, "d": 2}
IMAGES = {name: random_regions(seed, count) for seed, (name, count) in enumerate(COUNTS.items())}


def test_batch_equals_pad_regions() -> None:
    table = RegionTable.from_regions(IMAGES)
    for names in ("ad", "bb", "cab", "b"):
        batch = table.batch(torch.tensor([table.rows[name] for name in names]))
        expected = pad_regions([IMAGES[name] for name in names])
        for key, values in expected.items():
            assert torch.equal(batch[key], values), (names, key)


def test_changing_a_batch_does_not_change_the_table() -> None:
    table = RegionTable.from_regions(IMAGES)
    rows = torch.tensor([0, 2])
    for values in table.batch(rows).values():
        values.zero_()
    assert torch.equal(table.batch(rows)["visual_feats"][0, :3], IMAGES["a"].features)


def test_gather_objects_selects_features_by_fraction() -> None:
    table = RegionTable.from_regions(IMAGES)
    rows = torch.tensor([table.rows[name] for name in "aaacb"])
    gathered = table.gather_objects(rows, torch.tensor([0.0, 0.34, 0.99, 0.61, 0.5], dtype=torch.float64))
    a, c = IMAGES["a"].features, IMAGES["c"].features
    assert torch.equal(gathered, torch.stack([a[0], a[1], a[2], c[3], torch.zeros(7)]))


def test_image_keys_may_be_any_hashable() -> None:
    table = RegionTable.from_regions({7: IMAGES["a"], ("x", 1): IMAGES["d"]})
    assert table.rows == {7: 0, ("x", 1): 1}


def test_table_bytes_equals_size_of_features_and_boxes() -> None:
    table = RegionTable.from_regions(IMAGES)
    sizes = [table.inputs[name].nbytes for name in ("visual_feats", "visual_pos")]
    assert table_bytes(4, 5, 7) == sum(sizes)
    assert table_bytes(4, 0, 7) == table_bytes(4, 1, 7)
    assert table_bytes(4, 5, 7, torch.float16) == sizes[0] // 2 + sizes[1]


def test_table_without_images_or_beyond_memory_limit_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no image"):
        RegionTable.from_regions({})
    monkeypatch.setattr(region_table, "_MAX_BYTES", 800)
    with pytest.raises(DataError, match=r"4 images would take .* `lxmert extract`"):
        RegionTable.from_regions(IMAGES)
