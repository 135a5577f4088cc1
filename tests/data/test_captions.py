"""read_captions: COCO captions joined with their images."""

from pathlib import Path
from typing import Any

import pytest

from lxmert.data.captions import Caption, read_captions
from lxmert.errors import DataError
from tests.data.file_writers import write_file


def captions(**changes: Any) -> dict[str, Any]:
    return {
        "info": {"year": 2014},
        "images": [
            {"id": 9, "file_name": "COCO_val2014_000000000009.jpg", "height": 4, "width": 5},
            {"id": 8},
        ],
        "licenses": [],
        "annotations": [
            {"image_id": 8, "id": 1, "caption": "A dog. "},
            {"image_id": 9, "id": 2, "caption": "A cat"} | changes,
            {"image_id": 9, "id": 3, "caption": "A cat"},
        ],
    }


EXPECTED = [
    Caption(8, "A dog. ", None),
    Caption(9, "A cat", "COCO_val2014_000000000009.jpg"),
    Caption(9, "A cat", "COCO_val2014_000000000009.jpg"),
]


def test_captions_are_joined_with_their_images(tmp_path: Path) -> None:
    assert read_captions(write_file(tmp_path / "c.json", captions())) == EXPECTED


def test_images_key_may_follow_annotations(tmp_path: Path) -> None:
    value = dict(reversed(captions().items()))
    assert read_captions(write_file(tmp_path / "c.json", value)) == EXPECTED


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (captions(image_id=7), r"annotations\[1\].image_id 7 is not among the file's images"),
        (captions(caption=None), r"annotations\[1\].caption is NoneType None, expected str"),
        (
            captions(caption="a \ud83d"),
            r"annotations\[1\].caption is .* character 2 is half of a surrogate pair",
        ),
        (captions(image_id="9"), r"annotations\[1\].image_id is str '9', expected int"),
        ({"images": []}, "annotations is missing"),
        ({"annotations": []}, "images is missing"),
        ({"annotations": [], "images": [{"id": 3}, {"id": 3}]}, r"images\[1\].id 3 occurs twice"),
        ([], "the file is a list, expected an object with annotations, images"),
    ],
)
def test_malformed_caption_error_names_location(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_captions(write_file(tmp_path / "c.json", value))
