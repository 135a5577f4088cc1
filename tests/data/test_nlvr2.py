"""read_nlvr2: published and own sentences about image pairs."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lxmert.data.nlvr2 import Nlvr2Example, read_nlvr2
from lxmert.errors import DataError
from tests.data.file_writers import write_json_lines


def nlvr2_record(**changes: Any) -> dict[str, Any]:
    return {
        "identifier": "train-10171-0-2",
        "sentence": "Two dogs.",
        "label": "True",
        "left_url": "https://example.org/a/b.png",
        "right_url": "https://example.org/c.jpg?x=1",
        "directory": 38,
        "synset": "dog",
    } | changes


def test_all_fields_are_read(tmp_path: Path) -> None:
    (example,) = read_nlvr2(write_json_lines(tmp_path / "train.json", nlvr2_record()))
    assert example == Nlvr2Example(
        identifier="train-10171-0-2",
        sentence="Two dogs.",
        label=True,
        left_image="train-10171-0-img0",
        right_image="train-10171-0-img1",
        group="train-10171--2",
        left_url="https://example.org/a/b.png",
        right_url="https://example.org/c.jpg?x=1",
        directory=38,
    )


@pytest.mark.parametrize(
    ("label", "expected"), [("True", True), ("false", False), (True, True), (False, False), (None, None)]
)
def test_labels_are_parsed_from_words_and_booleans(tmp_path: Path, label: Any, expected: bool | None) -> None:
    assert read_nlvr2(write_json_lines(tmp_path / "a.json", nlvr2_record(label=label)))[0].label is expected


def test_images_named_by_path_keep_their_file_names(tmp_path: Path) -> None:
    pair = nlvr2_record(left_url="images/dev/scenes_dev_000000000004.png", right_url="other.jpeg")
    example = read_nlvr2(write_json_lines(tmp_path / "a.json", pair))[0]
    assert (example.left_image, example.right_image) == ("scenes_dev_000000000004", "other")


def test_record_without_urls_has_official_image_names(tmp_path: Path) -> None:
    example = read_nlvr2(
        write_json_lines(tmp_path / "a.json", {"identifier": "test1-0-1-3", "sentence": "One."})
    )[0]
    assert (example.left_image, example.right_image) == ("test1-0-1-img0", "test1-0-1-img1")
    assert (example.label, example.left_url, example.directory) == (None, None, None)
    assert example.group == "test1-0--3"


def test_equal_strings_of_a_pair_share_one_object(tmp_path: Path) -> None:
    lines = nlvr2_record(), nlvr2_record(identifier="train-10171-0-1")
    first, second = read_nlvr2(write_json_lines(tmp_path / "a.json", *lines))
    for name in ("left_image", "right_image", "left_url", "right_url", "sentence"):
        assert getattr(first, name) is getattr(second, name)


def test_images_are_listed_once_in_file_order(tmp_path: Path) -> None:
    path = write_json_lines(
        tmp_path / "a.json",
        nlvr2_record(),
        nlvr2_record(identifier="train-10171-0-1"),
        nlvr2_record(identifier="train-1-1-0"),
    )
    assert read_nlvr2(path).images == [
        "train-10171-0-img0",
        "train-10171-0-img1",
        "train-1-1-img0",
        "train-1-1-img1",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"identifier": 3}, "line 2.identifier is int 3"),
        (
            {"identifier": "dev-1-2"},
            "line 2.identifier is 'dev-1-2', expected <split>-<set>-<pair>-<sentence>",
        ),
        ({"identifier": "dev--1-2"}, "line 2.identifier is 'dev--1-2', expected <split>"),
        ({"identifier": "train-10171-0-2"}, "line 2.identifier 'train-10171-0-2' occurs twice"),
        ({"sentence": None}, "line 2.sentence is NoneType"),
        ({"sentence": "Two \ud83d."}, "line 2.sentence is .* character 4 is half of a surrogate pair"),
        ({"label": "yes"}, "line 2.label is str 'yes', expected"),
        ({"label": 1}, "line 2.label is int 1, expected"),
        ({"left_url": 7}, "line 2.left_url is int 7"),
    ],
)
def test_malformed_line_raises_data_error(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = write_json_lines(
        tmp_path / "a.json", nlvr2_record(), nlvr2_record(identifier="train-1-1-1") | changes
    )
    with pytest.raises(DataError, match=r"a\.json: " + message):
        read_nlvr2(path)


@pytest.mark.parametrize(
    ("name", "examples", "images", "groups", "true"),
    [("dev", 6982, 8102, 2018, 0.5086), ("test1", 6967, 8082, 1995, 0.5107)],
)
def test_published_sentences_are_read(
    shared_data: Path, name: str, examples: int, images: int, groups: int, true: float
) -> None:
    data = read_nlvr2(shared_data / "nlvr2" / f"{name}.json")
    assert (len(data), len(data.images)) == (examples, images)
    sizes = Counter(example.group for example in data)
    assert len(sizes) == groups
    assert set(sizes.values()) == {1, 2, 3, 4}
    assert sum(example.label is True for example in data) / len(data) == pytest.approx(true, abs=5e-5)


def test_own_lines_are_pairs_grouped_by_sentence(tmp_path: Path) -> None:
    pair_line = {"image": ["day 1/a.png", "day 2/a"], "sentence": "Both are open.", "label": True}
    path = write_json_lines(
        tmp_path / "own val.jsonl",
        pair_line,
        {**pair_line, "image": ["c", "d"], "label": False, "id": 7},
        {"image": ["c", "d"], "sentences": ["One?", "Two?"]},
        nlvr2_record(),
    )
    first, second, third, fourth, official = read_nlvr2(path)
    assert (first.left_image, first.right_image) == ("day 1/a.png", "day 2/a")
    assert [example.identifier for example in (first, second, third, fourth)] == [
        "own_val-1", "7", "own_val-3", "own_val-4",
    ]  # fmt: skip
    assert (first.label, second.label, third.label) == (True, False, None)
    assert first.group == second.group != third.group
    assert official.identifier == nlvr2_record()["identifier"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "a b"}, r"line 2\.id is 'a b', expected no white space and no comma"),
        ({"id": "a,b"}, r"line 2\.id is 'a,b'"),
        ({"id": 1}, r"line 2\.id '1' occurs twice"),
        ({"image": "a"}, r"line 2\.image names one image, expected two, left and right"),
        ({"answer": "yes"}, r"line 2 has answers; a sentence about two images has a label"),
        ({"label": "True"}, r"line 2\.label is str 'True', expected bool"),
    ],
)
def test_invalid_own_line_error_names_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    line = {"image": ["a", "b"], "sentence": "Both.", "label": True}
    path = write_json_lines(tmp_path / "own.jsonl", {**line, "id": "1"}, line | changes)
    with pytest.raises(DataError, match=r"own\.jsonl: " + message):
        read_nlvr2(path)
