"""Box annotations: COCO files, vocabularies, and names that a vocabulary does not contain."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lxmert.data.box_annotations import (
    BoxVocabulary,
    NamedBoxes,
    NameList,
    collect_vocabulary,
    encode_names,
    read_coco_boxes,
)
from lxmert.errors import DataError

ATTRIBUTES = {"size": "Small", "fill": "solid", "color": "red", "noted": None}


def annotation(image_id: int, bbox: list[float], **changes: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": image_id, "category_id": 3, "bbox": bbox, "iscrowd": 0} | changes


def coco_file(folder: Path, annotations: list[dict[str, Any]]) -> Path:
    images = [
        {"id": 7, "file_name": "seven.png", "width": 40, "height": 30},
        {"id": 8, "file_name": "deep/eight.png", "width": 20, "height": 50},
    ]
    categories = [{"id": 3, "name": "Cup "}, {"id": 5, "name": "dog"}]
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def test_coco_boxes_become_names_and_corners(tmp_path: Path) -> None:
    path = coco_file(
        tmp_path,
        [
            annotation(7, [1.5, 2, 10, 20], attributes=ATTRIBUTES),
            annotation(7, [5, 5, 3, 4], category_id=5),
        ],
    )
    seven, eight = read_coco_boxes(path)
    assert (seven.image_id, seven.file_name, seven.size_hw) == (7, "seven.png", (30, 40))
    assert seven.boxes_xyxy_px.tolist() == [[1.5, 2, 11.5, 22], [5, 5, 8, 9]]
    assert seven.boxes_xyxy_px.dtype == torch.float32
    assert seven.objects == ("cup", "dog")
    assert seven.attributes == (("small solid red",), ())
    assert eight.boxes_xyxy_px.shape == (0, 4)
    assert (len(seven), len(eight)) == (2, 0)


@pytest.mark.parametrize(
    ("naming", "keys", "expected"),
    [
        ("combined", None, ("small solid red",)),
        ("combined", ["color", "size", "absent"], ("red small",)),
        ("combined", ["absent"], ()),
        ("single", None, ("small", "solid", "red")),
        ("single", ["fill"], ("solid",)),
        ("none", None, ()),
    ],
)
def test_attributes_follow_naming_and_keys(
    tmp_path: Path, naming: Any, keys: list[str] | None, expected: tuple[str, ...]
) -> None:
    path = coco_file(tmp_path, [annotation(7, [1, 2, 3, 4], attributes=ATTRIBUTES)])
    assert read_coco_boxes(path, naming, keys)[0].attributes == (expected,)


def test_repeated_attribute_value_is_kept_once(tmp_path: Path) -> None:
    path = coco_file(tmp_path, [annotation(7, [1, 2, 3, 4], attributes={"lid": "red", "side": "Red"})])
    assert read_coco_boxes(path, "single")[0].attributes == (("red",),)


def test_boxes_are_clipped_and_crowd_empty_and_outside_boxes_dropped(tmp_path: Path) -> None:
    path = coco_file(
        tmp_path,
        [
            annotation(7, [-2, -3, 12, 13]),
            annotation(7, [35, 28, 9, 9], category_id=5),
            annotation(7, [0, 0, 9, 9], iscrowd=1),
            annotation(7, [4, 4, 0, 6]),
            annotation(7, [4, 4, 6, 0.0]),
            annotation(7, [50, 4, 6, 6]),
        ],
    )
    seven = read_coco_boxes(path)[0]
    assert seven.boxes_xyxy_px.tolist() == [[0, 0, 10, 10], [35, 28, 40, 30]]
    assert seven.objects == ("cup", "dog")


def test_unnamed_category_raises_data_error_unless_only_crowds_use_it(tmp_path: Path) -> None:
    path = coco_file(tmp_path, [annotation(7, [1, 2, 3, 4], category_id=4, iscrowd=1)])
    assert len(read_coco_boxes(path)[0]) == 0
    path = coco_file(tmp_path, [annotation(7, [1, 2, 3, 4]), annotation(7, [1, 2, 3, 4], category_id=4)])
    with pytest.raises(DataError, match="image 7 has an object of category 4, which has no name"):
        read_coco_boxes(path)


def test_image_without_size_raises_data_error(tmp_path: Path) -> None:
    path = coco_file(tmp_path, [annotation(7, [1, 2, 3, 4])])
    path.write_text(path.read_text().replace('"height": 50', '"height": 0'))
    with pytest.raises(DataError, match=r"image 8 has height and width \(0, 20\), expected pixels"):
        read_coco_boxes(path)


@pytest.mark.parametrize("bbox", [[1, 2, -3, 4], [1, 2, 3], [1, 2, "3", 4], []])
def test_malformed_box_raises_data_error(tmp_path: Path, bbox: Any) -> None:
    with pytest.raises(DataError, match=r"annotations\[0\].bbox"):
        read_coco_boxes(coco_file(tmp_path, [annotation(7, bbox)]))


def named_boxes(objects: tuple[str, ...], attributes: tuple[tuple[str, ...], ...]) -> NamedBoxes:
    corners = torch.arange(4 * len(objects), dtype=torch.float32).reshape(-1, 4)
    return NamedBoxes(7, "seven.png", (30, 40), corners, objects, attributes)


def test_collect_vocabulary_sorts_names_and_applies_min_count() -> None:
    images = [
        named_boxes(("dog", "cup", "dog"), (("red",), (), ("red", "wet"))),
        named_boxes(("ant",), (("wet",),)),
    ]
    every = collect_vocabulary(images)
    assert every.objects.names == ("ant", "cup", "dog")
    assert every.attributes.names == ("red", "wet")
    assert every.objects.ids == {"ant": 0, "cup": 1, "dog": 2}
    twice = collect_vocabulary(images, min_count=2)
    assert twice.objects.names == ("dog",)
    assert twice.attributes.names == ("red", "wet")


def test_name_list_maps_synonyms_to_id_of_first_name(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("stop sign,stopsign\nCup\n dog , Puppy,\n")
    names = NameList.read(path)
    assert names.names == ("stop sign", "cup", "dog")
    assert names.ids == {"stop sign": 0, "stopsign": 0, "cup": 1, "dog": 2, "puppy": 2}
    assert len(names) == 3


def test_name_list_ignores_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("person\r\ndog\r\n", encoding="utf-8-sig", newline="")
    assert NameList.read(path).names == ("person", "dog")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty"),
        (b"cup\n\ndog", "line 2 has no name"),
        (b"cup\ndog\nmug,Cup", "'cup' occurs in line 1 and in line 3"),
        (b"\xff", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_malformed_vocabulary_file_raises_data_error(
    tmp_path: Path, text: bytes | None, message: str
) -> None:
    path = tmp_path / "names.txt"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(DataError, match=message):
        NameList.read(path)


def test_published_vocabularies_are_read(shared_data: Path) -> None:
    objects = NameList.read(shared_data / "vg/objects_vocab.txt")
    attributes = NameList.read(shared_data / "vg/attributes_vocab.txt")
    assert (len(objects), len(attributes)) == (1600, 400)
    assert (objects.names[0], objects.names[-1]) == ("yolk", "buoy")
    assert objects.ids["stopsign"] == objects.ids["stop sign"]
    assert attributes.names[attributes.ids["grey"]] == "gray"


def test_encode_names_drops_boxes_of_unknown_classes_and_unknown_attributes() -> None:
    image = named_boxes(("dog", "ufo", "mug"), (("wet", "odd"), ("red",), ("red", "scarlet", "wet")))
    vocabulary = BoxVocabulary(
        NameList(("cup", "dog"), {"cup": 0, "mug": 0, "dog": 1}),
        NameList(("red", "wet"), {"red": 0, "scarlet": 0, "wet": 1}),
    )
    (encoded,) = encode_names([image], vocabulary, Path("pictures"))
    assert encoded.path == Path("pictures/seven.png")
    assert (encoded.image_id, encoded.size_hw) == (7, (30, 40))
    assert encoded.object_ids.tolist() == [1, 0]
    assert encoded.boxes_xyxy_px.tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    assert encoded.attribute_ids == ((1,), (0, 1))
    assert len(encoded) == 2


def test_encode_names_keeps_image_without_known_boxes() -> None:
    nothing = BoxVocabulary(NameList.from_names(["cup"]), NameList.from_names([]))
    (encoded,) = encode_names([named_boxes(("ufo",), ((),))], nothing, Path())
    assert encoded.boxes_xyxy_px.shape == (0, 4)
    assert encoded.object_ids.dtype == torch.int64
    assert encoded.attribute_ids == ()
