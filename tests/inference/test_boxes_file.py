"""Boxes from JSON files: accepted forms, round trip, one clear error for each fault."""

from pathlib import Path

import pytest
import torch

from lxmert.errors import DataError
from lxmert.inference.boxes_file import read_boxes, write_boxes


@pytest.mark.parametrize(
    "text",
    ["[[1, 2, 30.5, 40]]", '{"boxes": [[1, 2, 30.5, 40]]}', "\ufeff[[1, 2, 30.5, 40]]"],
    ids=["list", "object", "byte order mark"],
)
def test_list_and_object_forms_are_read(tmp_path: Path, text: str) -> None:
    file = tmp_path / "boxes.json"
    file.write_text(text, encoding="utf-8")
    boxes = read_boxes(file)
    assert boxes.dtype == torch.float32
    assert boxes.tolist() == [[1.0, 2.0, 30.5, 40.0]]


def test_written_boxes_are_read_back(tmp_path: Path) -> None:
    boxes = torch.tensor([[0.0, 1.5, 10.25, 20.0], [3.0, 4.0, 5.0, 6.0], [7.0, 8.0, 9.5, 10.0]])
    write_boxes(tmp_path / "boxes.json", boxes)
    assert torch.equal(read_boxes(tmp_path / "boxes.json"), boxes)


@pytest.mark.parametrize("name", ["absent.json", "."])
def test_missing_file_or_folder_is_named_in_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="the boxes cannot be read") as caught:
        read_boxes(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("boxes", "not a JSON file"),
        ("[]", "non-empty list"),
        ("{}", "non-empty list"),
        ("[[1, 2, 3]]", "box 0"),
        ('[[1, 2, 3, 4], [1, 2, 3, "4"]]', "box 1"),
        ("[[1, 2, 3, true]]", "box 0"),
        (f"[[1, 2, 3, {'9' * 400}]]", "box 0"),
    ],
)
def test_malformed_file_error_names_file_and_fault(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "boxes.json"
    file.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_boxes(file)
    assert str(file) in str(caught.value)
