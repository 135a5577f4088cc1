"""verify_store finds every changed byte and reports counts."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert.data.feature_store import FeatureStore, verify_store
from tests.data.stores import random_regions, write_store

IMAGES = {f"photo-{number}.jpg": random_regions(number, 1 + number % 3) for number in range(4)}
STEM = "rank-00000-part-00000"


@pytest.fixture(scope="module")
def intact_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("intact_store") / "store", IMAGES)


def _is_padding(folder: Path, offset: int) -> bool:
    """Whether the offset lies in the padding between two images."""
    ((files, _),) = FeatureStore(folder).parts()
    index = files.path("index").read_bytes()
    starts = [int.from_bytes(index[row : row + 8], "little") for row in range(0, len(index), 64)]
    sizes = [int.from_bytes(index[row + 8 : row + 16], "little") for row in range(0, len(index), 64)]
    return not any(start <= offset < start + size for start, size in zip(starts, sizes, strict=True))


@settings(max_examples=120, deadline=None)
@given(
    kind=st.sampled_from(["data", "names", "index"]),
    place=st.floats(0, 1, exclude_max=True),
    flip=st.integers(1, 255),
)
def test_every_changed_byte_is_reported(intact_store: Path, kind: str, place: float, flip: int) -> None:
    path = intact_store / f"{STEM}.{kind}"
    content = path.read_bytes()
    offset = int(place * len(content))
    if kind == "data" and _is_padding(intact_store, offset):
        return
    changed = bytearray(content)
    changed[offset] ^= flip
    # A line end between names belongs to no name.
    is_line_end = kind == "names" and content[offset] == ord("\n")
    path.write_bytes(changed)
    try:
        faults = verify_store(intact_store).faults
    finally:
        path.write_bytes(content)
    assert bool(faults) != is_line_end, (kind, offset)


def test_intact_store_is_reported_with_counts(intact_store: Path) -> None:
    steps: list[int] = []
    report = verify_store(intact_store, steps.append)
    assert report.faults == []
    assert (report.images, report.objects, sum(steps)) == (4, 1 + 2 + 3 + 1, 4)
    assert (report.fewest_objects, report.most_objects) == (1, 3)
    values = [value for regions in IMAGES.values() for value in regions.features.flatten().tolist()]
    assert report.feature_range == (min(values), max(values))
    assert report.feature_mean == pytest.approx(sum(values) / len(values))
    assert report.labels == dict.fromkeys(report.labels, 4)


def test_images_without_objects_or_labels_are_valid(tmp_path: Path) -> None:
    images = {f"photo-{number}.jpg": random_regions(number, number, labels=number < 2) for number in range(4)}
    report = verify_store(write_store(tmp_path / "store", images))
    assert report.faults == []
    assert (report.fewest_objects, report.most_objects, report.boxes_leaving) == (0, 3, 0)
    assert report.labels == dict.fromkeys(report.labels, 2)


def test_fault_names_index_file_position_and_image(intact_store: Path) -> None:
    path = intact_store / f"{STEM}.data"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (fault,) = verify_store(intact_store).faults
    path.write_bytes(content)
    assert fault == f"{STEM}.index, image 3, 'photo-3.jpg': the checksum of its numbers is wrong"


def test_manifest_with_other_feature_dim_makes_every_image_a_fault(tmp_path: Path) -> None:
    folder = write_store(tmp_path / "store", {"a": random_regions(1, 2)})
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"feature_dim": manifest["feature_dim"] + 2}))
    (fault,) = verify_store(folder).faults
    # Two objects of two float32 numbers more.
    assert (found := re.search(r"(\d+) bytes of numbers, expected (\d+) for 2 objects$", fault))
    assert int(found[2]) - int(found[1]) == 2 * 2 * 4


def test_images_after_damaged_entry_are_still_checked(intact_store: Path) -> None:
    path = intact_store / f"{STEM}.index"
    content = path.read_bytes()
    path.write_bytes(content[:70] + b"?" + content[71:])
    report = verify_store(intact_store)
    path.write_bytes(content)
    assert report.faults == [f"{STEM}.index, image 1: the checksum of its index entry is wrong"]
    assert report.images == 3


def test_duplicate_name_in_two_ranks_is_reported(tmp_path: Path) -> None:
    folder = write_store(tmp_path / "store", {"a": random_regions(1)})
    other = write_store(tmp_path / "other", {"b": random_regions(2), "a": random_regions(3)}, rank=1)
    for path in other.glob("rank-*"):
        path.rename(folder / path.name)
    (fault,) = verify_store(folder).faults
    assert "rank-00001-part-00000.index, image 1, 'a': the name is already used by" in fault
    assert FeatureStore(folder)["a"].equals(random_regions(1))


def test_entries_out_of_order_are_reported(intact_store: Path) -> None:
    path = intact_store / f"{STEM}.index"
    content = path.read_bytes()
    path.write_bytes(content[64:128] + content[:64] + content[128:])
    faults = verify_store(intact_store).faults
    path.write_bytes(content)
    assert len(faults) == 3
    assert all("points to the wrong place" in fault for fault in faults)
