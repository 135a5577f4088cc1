"""Image regions extracted now or read from a store: equal regions, and errors that name the file."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from lxmert.data import region_table
from lxmert.data.feature_store import FeatureStore, FeatureStoreWriter, StoreManifest
from lxmert.data.image_files import ImageFile, extract_region_table, open_region_store
from lxmert.data.region_table import RegionTable
from lxmert.data.stored_regions import StoredRegions
from lxmert.errors import ConfigurationError, DataError, RegionsError
from lxmert.vision.build import build_extractor
from lxmert.vision.images import load_image

EXTRACTOR = {"kind": "given_boxes", "encoder": {"kind": "pooled_pixels", "size": 2}}


def write_images(folder: Path, lefts: tuple[float, ...]) -> dict[str, ImageFile]:
    """Pictures of 16 pixels, each with one box that begins at such an x."""
    files = {}
    for number, x in enumerate(lefts):
        path = folder / f"picture{number}.png"
        Image.new("RGB", (16, 16), (40 * number, 0, 0)).save(path)
        files[path.stem] = ImageFile(path, torch.tensor([[x, 1.0, x + 5, 6.0]]))
    return files


def test_box_outside_image_error_names_file(tmp_path: Path) -> None:
    files = write_images(tmp_path, (1, 900, 1))
    extractor = build_extractor(EXTRACTOR)
    good = {name: files[name] for name in ("picture0", "picture2")}
    assert len(extract_region_table(good, extractor)) == 2
    with pytest.raises(RegionsError, match=r"picture1\.png: "):
        extract_region_table(files, extractor)


def test_extract_regions_without_extractor_raises_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no extractor"):
        extract_region_table(write_images(tmp_path, (1,)), None)


def test_table_beyond_memory_limit_is_rejected_before_all_images_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_images(tmp_path, (1,))["picture0"]
    extractor = build_extractor(EXTRACTOR)
    # One object of 2 × 2 pixels of 3 colours and 4 coordinates, in 4 bytes each.
    monkeypatch.setattr(region_table, "_MAX_BYTES", 100 * (12 + 4) * 4)
    files = {str(number): file for number in range(101)}
    counts: list[int] = []
    with pytest.raises(DataError, match="101 images would take"):
        extract_region_table(files, extractor, counts.append)
    assert sum(counts) < 50
    two = ImageFile(file.path, torch.tensor([[1.0, 1.0, 6.0, 6.0]] * 2))
    widened = {name: two if int(name) == 40 else one for name, one in files.items() if int(name) < 90}
    with pytest.raises(DataError, match="90 images would take"):
        extract_region_table(widened, extractor, counts.append)
    assert sum(counts) < 90
    assert len(extract_region_table(dict(list(files.items())[:100]), extractor)) == 100


@pytest.fixture
def stored(tmp_path: Path) -> FeatureStore:
    """A store of the first three of four images, not in their order."""
    files = write_images(tmp_path, (1, 2, 3, 4))
    extractor = build_extractor(EXTRACTOR)
    manifest = StoreManifest(extractor.feature_dim, "float32", extractor.identity)
    with FeatureStoreWriter(tmp_path / "store", manifest) as writer:
        for number in (2, 0, 1):
            file = files[f"picture{number}"]
            assert file.boxes_xyxy_px is not None
            writer.add(file.path.name, extractor([load_image(file.path)], [file.boxes_xyxy_px])[0])
    return FeatureStore(tmp_path / "store")


def test_stored_regions_equal_extracted_regions(tmp_path: Path, stored: FeatureStore) -> None:
    extractor = build_extractor(EXTRACTOR)
    names = ["picture1", "picture0", "picture2"]
    files = write_images(tmp_path, (1, 2, 3, 4))
    counts: list[int] = []
    extracted = extract_region_table({name: files[name] for name in names}, extractor, counts.append)
    read = open_region_store(stored, names, extractor)
    assert isinstance(read, RegionTable)
    assert isinstance(open_region_store(stored, names, extractor, in_memory_bytes=0), StoredRegions)
    assert sum(counts) == 3
    for name in names:
        first = extracted.batch(torch.tensor([extracted.rows[name]]))
        second = read.batch(torch.tensor([read.rows[name]]))
        for key, values in first.items():
            assert torch.equal(values, second[key]), key


def test_store_lacking_image_or_of_other_extractor_is_rejected(stored: FeatureStore) -> None:
    extractor = build_extractor(EXTRACTOR)
    with pytest.raises(DataError, match=r"1 of 2 images are missing, starting with picture3"):
        open_region_store(stored, ["picture0", "picture3"], extractor)
    other = build_extractor({"kind": "given_boxes", "encoder": {"kind": "pooled_pixels", "size": 3}})
    with pytest.raises(DataError, match=r"was made by given-boxes/pooled-pixels-2, expected"):
        open_region_store(stored, ["picture0"], other)
