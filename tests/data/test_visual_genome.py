"""Visual Genome files: small hand-written ones with the irregularities of the published ones."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from lxmert.data.visual_genome import read_image_ids, read_visual_genome_boxes
from lxmert.errors import DataError


def object_record(object_id: int, names: list[str], x: float, y: float, w: float, h: float) -> dict[str, Any]:
    return {
        "synsets": [],
        "h": h,
        "object_id": object_id,
        "merged_object_ids": [],
        "names": names,
        "w": w,
        "y": y,
        "x": x,
    }


OBJECTS = [
    {
        "image_id": 2,
        "objects": [
            object_record(51, ["Tree ", "plant"], 0, 10, 30, 40),
            object_record(52, ["sky"], -4, -1, 300, 60),
            object_record(53, ["man"], 90, 90, 5, 5),
            object_record(54, [""], 5, 5, 20, 20),
            object_record(55, ["man"], 12.5, 5, 20, 20),
        ],
        "image_url": "https://example.org/2.jpg",
    },
    {"image_id": 1, "objects": [], "image_url": "https://example.org/1.jpg"},
]
ATTRIBUTES = [
    {
        "image_id": 2,
        "attributes": [
            object_record(51, ["tree"], 0, 10, 30, 40) | {"attributes": ["Green", " tall ", "green", ""]},
            object_record(52, ["sky"], 0, 0, 300, 60),
            object_record(55, ["man"], 12, 5, 20, 20) | {"attributes": None},
        ],
    },
    {"image_id": 1, "attributes": [object_record(99, ["cat"], 0, 0, 1, 1) | {"attributes": ["odd"]}]},
]
SIZES = [
    {"image_id": 1, "width": 33, "height": 22, "coco_id": None, "flickr_id": None, "url": ""},
    {"image_id": 2, "width": 80, "height": 64, "coco_id": 7, "flickr_id": None, "url": ""},
]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    contents = {"objects.json": OBJECTS, "attributes.json": ATTRIBUTES, "image_data.json": SIZES}
    for name, content in contents.items():
        (tmp_path / name).write_text(json.dumps(content))
    objects, attributes, sizes = (tmp_path / name for name in contents)
    return objects, attributes, sizes


def test_boxes_names_and_attributes_are_read_and_clipped(files: tuple[Path, Path, Path]) -> None:
    second, first = read_visual_genome_boxes(*files)
    assert (second.image_id, second.file_name, second.size_hw) == (2, "2.jpg", (64, 80))
    # 53 lies beyond the border and 54 has no name.
    assert second.objects == ("tree", "sky", "man")
    assert second.boxes_xyxy_px.tolist() == [[0, 10, 30, 50], [0, 0, 80, 59], [12.5, 5, 32.5, 25]]
    assert second.attributes == (("green", "tall"), (), ())
    assert (first.image_id, first.size_hw, len(first)) == (1, (22, 33), 0)
    assert first.boxes_xyxy_px.shape == (0, 4)


def test_boxes_are_read_without_attributes_file(files: tuple[Path, Path, Path]) -> None:
    second, _ = read_visual_genome_boxes(files[0], None, files[2])
    assert second.attributes == ((), (), ())


def test_attributes_of_repeated_object_are_joined(files: tuple[Path, Path, Path]) -> None:
    records = [{"object_id": 51, "attributes": words} for words in (["red"], ["old", "red"])]
    files[1].write_text(json.dumps([{"image_id": 2, "attributes": records}]))
    assert read_visual_genome_boxes(*files)[0].attributes == (("red", "old"), (), ())


def test_only_boxes_of_images_read_so_far_are_in_memory(files: tuple[Path, Path, Path]) -> None:
    """Their records have fields that nothing needs: 8 MB in this file."""
    record = {**OBJECTS[1], "synsets": ["x" * 40_000]}
    files[0].write_text(json.dumps([record | {"image_id": number} for number in range(1, 201)]))
    files[2].write_text(json.dumps([SIZES[0] | {"image_id": number} for number in range(1, 201)]))
    tracemalloc.start()
    try:
        images = read_visual_genome_boxes(files[0], None, files[2])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(images) == 200
    assert peak < 6_000_000


def test_image_ids_and_file_name_select_and_name_images(files: tuple[Path, Path, Path]) -> None:
    (image,) = read_visual_genome_boxes(*files, image_ids=[1], file_name="VG_{:03d}.png".format)
    assert (image.image_id, image.file_name) == (1, "VG_001.png")
    with pytest.raises(DataError, match="no objects for 2 of the 3 selected images, such as image 5"):
        read_visual_genome_boxes(*files, image_ids=[8, 1, 5])


def test_image_without_size_raises_data_error(files: tuple[Path, Path, Path]) -> None:
    files[2].write_text(json.dumps(SIZES[:1]))
    with pytest.raises(DataError, match=r"\[0\].image_id 2 has no size in the image data"):
        read_visual_genome_boxes(*files)
    assert len(read_visual_genome_boxes(*files, image_ids=[1])) == 1


@pytest.mark.parametrize(
    ("file_index", "content", "message"),
    [
        (0, {"image_id": 1}, "the file is an object, expected a list of records"),
        (0, [{"objects": []}], r"\[0\].image_id is missing"),
        (0, [{"image_id": 1}], r"\[0\].objects is missing"),
        (
            0,
            [{"image_id": 1, "objects": [{"object_id": 3, "names": ["a"]}]}],
            r"\[0\].objects\[0\].x is NoneType None, expected a finite number",
        ),
        (
            0,
            [{"image_id": 1, "objects": [object_record(1, ["a"], True, 0, 1, 1)]}],
            "x is bool True, expected a finite number",
        ),
        (0, [{"image_id": 1, "objects": [object_record(1, ["a"], 0, 0, float("inf"), 1)]}], "w is float inf"),
        (1, [{"image_id": 2, "attributes": [{"attributes": []}]}], r"attributes\[0\].object_id is missing"),
        (1, [{"image_id": 2, "attributes": [{"object_id": 1, "attributes": "red"}]}], "expected list"),
        (2, [{"image_id": 2, "width": 3}], "height is missing"),
        (2, [{"image_id": 2, "width": 3, "height": 0}], r"height is int 0, expected one from 1"),
        (2, [*SIZES, SIZES[0]], r"\[2\].image_id 1 occurs twice"),
        (0, [OBJECTS[1], OBJECTS[1]], r"\[1\].image_id 1 occurs twice"),
        (
            0,
            [{"image_id": 1, "objects": [object_record(3, [None], 0, 0, 1, 1)]}],  # type: ignore[list-item]
            r"\[0\].objects\[0\].names\[0\] is NoneType None, expected str",
        ),
        (
            1,
            [{"image_id": 2, "attributes": [{"object_id": 1, "attributes": ["red", {"a": 1}]}]}],
            r"attributes\[0\].attributes\[1\] is dict .*, expected str",
        ),
    ],
)
def test_malformed_file_error_names_location(
    files: tuple[Path, Path, Path], file_index: int, content: Any, message: str
) -> None:
    files[file_index].write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        read_visual_genome_boxes(*files)


def test_read_image_ids_reads_numbers_and_rejects_other_lines(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("12\n 7 \n3\n")
    assert read_image_ids(path) == [12, 7, 3]
    path.write_text("12\nimages/7.jpg\n")
    with pytest.raises(DataError, match=r"line 2 is 'images/7.jpg', expected the id of an image"):
        read_image_ids(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_image_ids(tmp_path / "none.txt")
