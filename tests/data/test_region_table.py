"""A table in memory holds what `pad_regions` makes of its images, cut to each batch."""

import pytest
import torch

from lxmert.data import region_table
from lxmert.data.region_table import RegionTable, table_bytes
from lxmert.errors import DataError
from lxmert.vision.padding import pad_regions
from tests.data.stores import random_regions

COUNTS = {"a": 3, "b": 0, "c": 5, "d": 2}
IMAGES = {name: random_regions(seed, count) for seed, (name, count) in enumerate(COUNTS.items())}


def test_a_batch_is_what_pad_regions_makes_of_its_images() -> None:
    table = RegionTable.from_regions(IMAGES)
    for names in ("ad", "bb", "cab", "b"):
        batch = table.batch(torch.tensor([table.rows[name] for name in names]))
        expected = pad_regions([IMAGES[name] for name in names])
        for key, values in expected.items():
            assert torch.equal(batch[key], values), (names, key)


def test_a_batch_may_be_changed_without_changing_the_table() -> None:
    table = RegionTable.from_regions(IMAGES)
    rows = torch.tensor([0, 2])
    for values in table.batch(rows).values():
        values.zero_()
    assert torch.equal(table.batch(rows)["visual_feats"][0, :3], IMAGES["a"].features)


def test_an_object_is_picked_by_its_share_of_the_way_through_them() -> None:
    table = RegionTable.from_regions(IMAGES)
    rows = torch.tensor([table.rows[name] for name in "aaacb"])
    picked = table.gather_objects(rows, torch.tensor([0.0, 0.34, 0.99, 0.61, 0.5], dtype=torch.float64))
    a, c = IMAGES["a"].features, IMAGES["c"].features
    assert torch.equal(picked, torch.stack([a[0], a[1], a[2], c[3], torch.zeros(7)]))


def test_images_may_be_called_anything_that_can_be_looked_up() -> None:
    table = RegionTable.from_regions({7: IMAGES["a"], ("x", 1): IMAGES["d"]})
    assert table.rows == {7: 0, ("x", 1): 1}


def test_the_size_of_a_table_is_that_of_its_features_and_boxes() -> None:
    table = RegionTable.from_regions(IMAGES)
    sizes = [table.inputs[name].nbytes for name in ("visual_feats", "visual_pos")]
    assert table_bytes(4, 5, 7) == sum(sizes)
    assert table_bytes(4, 0, 7) == table_bytes(4, 1, 7)
    assert table_bytes(4, 5, 7, torch.float16) == sizes[0] // 2 + sizes[1]


def test_a_table_of_no_images_or_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no image"):
        RegionTable.from_regions({})
    monkeypatch.setattr(region_table, "_MAX_BYTES", 800)
    with pytest.raises(DataError, match=r"4 images would take .* `lxmert extract`"):
        RegionTable.from_regions(IMAGES)
