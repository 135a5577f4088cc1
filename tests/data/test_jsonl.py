"""read_jsonl: lines of one's own data in JSON Lines."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert.data.jsonl import JsonlExample, read_jsonl
from lxmert.errors import DataError
from tests.data.file_writers import write_json_lines


def read_one(tmp_path: Path, **record: Any) -> JsonlExample:
    (example,) = read_jsonl(write_json_lines(tmp_path / "own.jsonl", record))
    return example


def test_line_without_answers_is_a_caption(tmp_path: Path) -> None:
    example = read_one(tmp_path, image="beach", sentence="A dog.")
    assert example == JsonlExample(("beach",), "A dog.")
    assert example.image == "beach"


def test_sentences_of_one_line_share_image_answer_and_id(tmp_path: Path) -> None:
    path = write_json_lines(
        tmp_path / "own.jsonl", {"image": "b", "sentences": ["A dog?", "A pet?"], "answer": "yes", "id": 7}
    )
    assert read_jsonl(path) == [
        JsonlExample(("b",), "A dog?", {"yes": 1.0}, identifier=7),
        JsonlExample(("b",), "A pet?", {"yes": 1.0}, identifier=7),
    ]


def test_answer_scores_are_kept_unchanged(tmp_path: Path) -> None:
    example = read_one(tmp_path, image="b", sentence="?", answers={"red": 0.9, "pink": 0.3})
    assert example.answers == {"red": 0.9, "pink": 0.3}
    assert read_one(tmp_path, image="b", sentence="?", answers={}).answers == {}
    assert read_one(tmp_path, image="b", sentence="?", answers=None).answers is None


@pytest.mark.parametrize(
    ("given_answers", "expected"),
    [
        (["red"] * 10, {"red": 1.0}),
        (["red"] * 6 + ["pink"] * 3 + ["rose"], {"red": 1.0, "pink": 0.9, "rose": 0.3}),
        (["red"] * 8 + ["pink"] * 2, {"red": 1.0, "pink": 0.6}),
        (["red"], {"red": 1.0}),
        (["red", "pink"], {"red": 1.0, "pink": 1.0}),
        (["red", "pink", "rose"], {"red": 0.9, "pink": 0.9, "rose": 0.9}),
        (["red"] * 4 + ["pink"], {"red": 1.0, "pink": 0.6}),
        (["red"] * 29 + ["pink"], {"red": 1.0, "pink": 0.3}),
        ([], {}),
    ],
)
def test_answer_list_is_scored_as_if_from_ten_annotators(
    tmp_path: Path, given_answers: list[str], expected: dict[str, float]
) -> None:
    assert read_one(tmp_path, image="b", sentence="?", answers=given_answers).answers == expected


def test_scores_above_1_by_rounding_error_are_clipped_to_1(tmp_path: Path) -> None:
    rounded = {"image": "a", "sentence": "x", "answers": {"y": 0.7 + 0.2 + 0.1 + 2e-7, "z": 0.3}}
    assert read_one(tmp_path, **rounded).answers == {"y": 1.0, "z": 0.3}


def test_image_pair_line_has_label_and_id(tmp_path: Path) -> None:
    example = read_one(tmp_path, image=["left", "right"], sentence="Both.", label=False, id="p-1")
    assert example == JsonlExample(("left", "right"), "Both.", None, False, "p-1")


def test_underscore_fields_are_ignored(tmp_path: Path) -> None:
    assert read_one(tmp_path, image="b", sentence="A dog.", _from="me").sentence == "A dog."


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"sentence": "x"}, "line 2.image is missing"),
        ({"image": 3, "sentence": "x"}, "line 2.image is int 3, expected str"),
        ({"image": "", "sentence": "x"}, "line 2.image is str '', expected a name or a list of two"),
        ({"image": ["a", "b", "c"], "sentence": "x"}, "line 2.image is list .* expected a name or a list"),
        ({"image": ["a", 3], "sentence": "x"}, r"line 2.image\[1\] is int 3, expected str"),
        ({"image": "a"}, "line 2 must have either sentence or sentences"),
        ({"image": "a", "sentence": "x", "sentences": []}, "line 2 must have either"),
        ({"image": "a", "sentence": ["x"]}, "line 2.sentence is list"),
        ({"image": "a", "sentences": "x"}, "line 2.sentences is str 'x', expected list"),
        ({"image": "a", "sentence": "x", "answer": ["y"]}, "line 2.answer is list"),
        (
            {"image": "a", "sentence": "x", "answer": "y", "answers": ["y"]},
            "line 2 has both answer and answers",
        ),
        ({"image": "a", "sentence": "x", "answers": "y"}, "line 2.answers is str 'y', expected dict"),
        ({"image": "a", "sentence": "x", "answers": {"y": True}}, "line 2.answers.y is bool True"),
        ({"image": "a", "sentence": "x", "answers": {"y": -1}}, "line 2.answers has a score below 0"),
        ({"image": "a", "sentence": "x", "answers": {"y": 1, "z": 3}}, "line 2.answers has a score above 1"),
        ({"image": "a", "sentence": "x", "answers": {"y": 1.001}}, "line 2.answers has a score above 1"),
        ({"image": "a", "sentence": "wh\ud83dt"}, r"line 2.sentence is str 'wh\\ud83dt', whose character 2 "),
        ({"image": "a", "sentences": ["\U0001f44d", "\udc4d"]}, r"line 2.sentences\[1\] is .* character 0 "),
        ({"image": "a", "sentence": "x", "label": 1}, "line 2.label is int 1, expected bool"),
        ({"image": "a", "sentence": "x", "id": 1.5}, "line 2.id is float 1.5, expected a string or a whole"),
        (
            {"image": "a", "sentance": "x"},
            "line 2.sentance is not a known field; expected one of image, sentence",
        ),
    ],
)
def test_malformed_line_raises_data_error(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    path = write_json_lines(tmp_path / "own.jsonl", {"image": "a", "sentence": "x"}, record)
    with pytest.raises(DataError, match=r"own\.jsonl: " + message):
        read_jsonl(path)


NAMES = st.text(min_size=1, max_size=5)
RECORDS = st.fixed_dictionaries(
    {"image": NAMES | st.lists(NAMES, min_size=2, max_size=2), "sentence": st.text(max_size=9)},
    optional={
        "answers": st.dictionaries(NAMES, st.floats(0, 1), max_size=3),
        "label": st.booleans() | st.none(),
        "id": NAMES | st.integers() | st.none(),
    },
)


@settings(max_examples=40)
@given(records=st.lists(RECORDS, max_size=4))
def test_written_records_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]]
) -> None:
    path = write_json_lines(tmp_path_factory.getbasetemp() / "any.jsonl", *records)
    expected = [
        JsonlExample(
            tuple(record["image"]) if isinstance(record["image"], list) else (record["image"],),
            record["sentence"],
            record.get("answers"),
            record.get("label"),
            record.get("id"),
        )
        for record in records
    ]
    assert read_jsonl(path) == expected
