import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from lxmert.data.feature_store import FeatureStore, FeatureStoreWriter, StoreManifest
from lxmert.data.files import VqaFiles
from lxmert.data.region_table import extract_split
from lxmert.errors import DataError, RegionsError
from lxmert.vision.build import build_extractor
from lxmert.vision.images import load_image

EXTRACTOR = {"kind": "given_boxes", "encoder": {"kind": "pooled_pixels", "size": 2}}


def write_pictures(folder: Path, lefts: tuple[int, ...]) -> None:
    """Pictures of 16 pixels, each with one box that begins at such an x."""
    (folder / "annotations").mkdir()
    (folder / "images" / "val").mkdir(parents=True)
    images, objects = [], []
    for number, x in enumerate(lefts):
        name = f"picture{number}.png"
        Image.new("RGB", (16, 16), (40 * number, 0, 0)).save(folder / "images" / "val" / name)
        images.append({"id": number, "file_name": name, "height": 16, "width": 16})
        objects.append({"image_id": number, "category_id": 1, "bbox": [x, 1, 5, 5]})
    (folder / "annotations" / "instances_val.json").write_text(
        json.dumps({"images": images, "annotations": objects, "categories": [{"id": 1, "name": "cube"}]})
    )


def test_boxes_outside_their_image_are_reported_with_the_file(tmp_path: Path) -> None:
    write_pictures(tmp_path, (1, 900, 1))
    extractor = build_extractor(EXTRACTOR)
    assert len(extract_split(tmp_path, VqaFiles(), "val", [0, 2], extractor)) == 2
    with pytest.raises(RegionsError, match=r"picture1\.png: "):
        extract_split(tmp_path, VqaFiles(), "val", [0, 1, 2], extractor)


@pytest.fixture
def stored(tmp_path: Path) -> FeatureStore:
    """A store of the first three of four pictures, not in their order."""
    write_pictures(tmp_path, (1, 2, 3, 4))
    extractor = build_extractor(EXTRACTOR)
    manifest = StoreManifest(extractor.feature_dim, "float32", extractor.identity)
    with FeatureStoreWriter(tmp_path / "store", manifest) as writer:
        for number in (2, 0, 1):
            image = load_image(tmp_path / "images" / "val" / f"picture{number}.png")
            boxes = torch.tensor([[1.0 + number, 1.0, 6.0 + number, 6.0]])
            writer.add(f"picture{number}.png", extractor([image], [boxes])[0])
    return FeatureStore(tmp_path / "store")


def test_a_store_gives_the_same_table_as_the_images(tmp_path: Path, stored: FeatureStore) -> None:
    extractor = build_extractor(EXTRACTOR)
    looked = extract_split(tmp_path, VqaFiles(), "val", [1, 0, 2], extractor)
    counts: list[int] = []
    read = extract_split(tmp_path, VqaFiles(), "val", [1, 0, 2], extractor, counts.append, stored)
    assert read.rows == looked.rows == {1: 0, 0: 1, 2: 2}
    for name, values in looked.inputs.items():
        assert torch.equal(read.inputs[name], values)
    assert sum(counts) == 3


def test_a_store_without_an_image_or_of_another_extractor_is_refused(
    tmp_path: Path, stored: FeatureStore
) -> None:
    with pytest.raises(DataError, match=r"1 of 2 images are not in it, the first is picture3\.png"):
        extract_split(tmp_path, VqaFiles(), "val", [0, 3], build_extractor(EXTRACTOR), store=stored)
    other = build_extractor({"kind": "given_boxes", "encoder": {"kind": "pooled_pixels", "size": 3}})
    with pytest.raises(DataError, match=r"was made by given-boxes/pooled-pixels-2, expected"):
        extract_split(tmp_path, VqaFiles(), "val", [0], other, store=stored)
