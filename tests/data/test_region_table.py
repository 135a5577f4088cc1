import json
from pathlib import Path

import pytest
from PIL import Image

from lxmert.data.files import VqaFiles
from lxmert.data.region_table import extract_split
from lxmert.errors import RegionsError
from lxmert.vision.build import build_extractor


def test_boxes_outside_their_image_are_reported_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images" / "val").mkdir(parents=True)
    images, objects = [], []
    for number, x in enumerate((1, 900, 1)):
        name = f"picture{number}.png"
        Image.new("RGB", (16, 16)).save(tmp_path / "images" / "val" / name)
        images.append({"id": number, "file_name": name, "height": 16, "width": 16})
        objects.append({"image_id": number, "category_id": 1, "bbox": [x, 1, 5, 5]})
    (tmp_path / "annotations" / "instances_val.json").write_text(
        json.dumps({"images": images, "annotations": objects, "categories": [{"id": 1, "name": "cube"}]})
    )
    extractor = build_extractor({"kind": "given_boxes", "encoder": {"kind": "pooled_pixels", "size": 2}})
    assert extractor is not None
    assert len(extract_split(tmp_path, VqaFiles(), "val", [0, 2], extractor)) == 2
    with pytest.raises(RegionsError, match=r"picture1\.png: "):
        extract_split(tmp_path, VqaFiles(), "val", [0, 1, 2], extractor)
