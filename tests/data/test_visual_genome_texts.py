"""Readers of Visual Genome region phrases, question-answer pairs and COCO ids."""

from pathlib import Path
from typing import Any

import pytest

from lxmert.data.visual_genome_texts import (
    QuestionAnswers,
    RegionPhrases,
    read_coco_ids,
    read_question_answers,
    read_region_phrases,
)
from lxmert.errors import DataError
from tests.data.file_writers import write_file


def region(phrase: Any) -> dict[str, Any]:
    return {"region_id": 1, "image_id": 5, "phrase": phrase, "x": 1, "y": 2, "width": 3, "height": 4}


def test_phrases_are_read_per_image(tmp_path: Path) -> None:
    value = [
        {"id": 5, "regions": [region("a red cat"), region("a door")]},
        {"image_id": 2, "regions": []},
        {"id": 7, "regions": [region("a door")]},
    ]
    assert read_region_phrases(write_file(tmp_path / "r.json", value)) == [
        RegionPhrases(5, ("a red cat", "a door")),
        RegionPhrases(2, ()),
        RegionPhrases(7, ("a door",)),
    ]


def test_questions_are_read_with_their_answers(tmp_path: Path) -> None:
    value = [{"id": 5, "qas": [{"qa_id": 1, "image_id": 5, "question": "What?", "answer": "A cat."}]}]
    found = read_question_answers(write_file(tmp_path / "q.json", value))
    assert found == [QuestionAnswers(5, (("What?", "A cat."),))]


def test_read_coco_ids_maps_visual_genome_to_coco_ids(tmp_path: Path) -> None:
    value = [{"image_id": 1, "coco_id": 42, "url": "x"}, {"image_id": 2, "coco_id": None}, {"image_id": 3}]
    assert read_coco_ids(write_file(tmp_path / "i.json", value)) == {1: 42, 2: None, 3: None}


@pytest.mark.parametrize(
    ("reader", "value", "message"),
    [
        (read_region_phrases, {"id": 5}, "the file is an object, expected a list of records"),
        (read_region_phrases, [{"regions": []}], r"\[0\].id is missing"),
        (read_region_phrases, [{"id": "5", "regions": []}], r"\[0\].id is str '5', expected int"),
        (read_region_phrases, [{"id": 5, "regions": [region(3)]}], r"\[0\].regions\[0\].phrase is int 3"),
        (
            read_region_phrases,
            [{"id": 5, "regions": [region("\ud83d")]}],
            r"regions\[0\].phrase is .* half of",
        ),
        (
            read_region_phrases,
            [{"id": 5, "regions": []}, {"id": 5, "regions": []}],
            r"\[1\]\.id 5 occurs twice",
        ),
        (
            read_question_answers,
            [{"id": 5, "qas": [{"question": "?\udc00"}]}],
            r"qas\[0\].question is .* half of",
        ),
        (read_question_answers, [{"id": 5, "qas": [{"question": "?"}]}], r"qas\[0\].answer is missing"),
        (read_coco_ids, [{"image_id": 1, "coco_id": "7"}], r"\[0\].coco_id is str '7', expected int"),
    ],
)
def test_malformed_file_error_names_location(tmp_path: Path, reader: Any, value: Any, message: str) -> None:
    with pytest.raises(DataError, match=r"x\.json: .*" + message):
        reader(write_file(tmp_path / "x.json", value))
