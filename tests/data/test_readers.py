"""Readers of VQA and COCO instances; behaviour common to all readers."""

import gc
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lxmert.answers import read_answers
from lxmert.data.answers import AnswerVocabulary
from lxmert.data.captions import read_captions
from lxmert.data.coco import read_instances
from lxmert.data.gqa import read_gqa
from lxmert.data.gqa_scene_graphs import read_gqa_choices, read_scene_graphs
from lxmert.data.lxmert_json import read_lxmert_gqa, read_lxmert_pretraining, read_lxmert_vqa
from lxmert.data.visual_genome import read_image_ids
from lxmert.data.visual_genome_texts import read_question_answers, read_region_phrases
from lxmert.data.vqa import VqaExample, read_vqa, read_vqa_annotations
from lxmert.errors import DataError
from tests.data.file_writers import write_file


def question(number: int, image: int = 7) -> dict[str, Any]:
    return {"question_id": number, "image_id": image, "question": f"question {number}?"}


def annotation(number: int, image: int = 7) -> dict[str, Any]:
    return {
        "question_id": number,
        "image_id": image,
        "question_type": "what",
        "answer_type": "other",
        "multiple_choice_answer": "red",
        "answers": [{"answer_id": n + 1, "answer": "red" if n else "Red"} for n in range(10)],
    }


@pytest.fixture
def vqa_paths(tmp_path: Path) -> tuple[Path, Path]:
    questions = {"data_type": "mscoco", "data_subtype": "val", "questions": [question(2), question(1, 8)]}
    annotations = {"annotations": [annotation(1, 8), annotation(2)]}
    return write_file(tmp_path / "q.json", questions), write_file(tmp_path / "a.json", annotations)


def test_questions_are_joined_with_their_annotations_in_file_order(vqa_paths: tuple[Path, Path]) -> None:
    data = read_vqa(*vqa_paths)
    assert (data.data_type, data.data_subtype, data.image_ids) == ("mscoco", "val", [7, 8])
    assert [example.question_id for example in data] == [2, 1]
    first = data[0]
    assert (first.image_id, first.question, first.question_type) == (7, "question 2?", "what")
    assert (first.answer_type, first.multiple_choice_answer) == ("other", "red")
    assert first.answers == ("Red", *["red"] * 9)
    assert first.annotators == ()


def test_annotation_is_freed_after_joining(
    vqa_paths: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[int] = []

    def counting_replace(example: VqaExample, **changes: Any) -> VqaExample:
        alive.append(sum(type(instance) is VqaExample for instance in gc.get_objects()))
        return replace(example, **changes)

    monkeypatch.setattr("lxmert.data.vqa.replace", counting_replace)
    read_vqa(*vqa_paths)
    assert alive[0] == alive[1]


def test_equal_annotators_share_one_object(tmp_path: Path) -> None:
    same = annotation(1)
    same["answers"] = [{"answer": "red"}, {"answer": "blue"}]
    data = read_vqa(
        write_file(tmp_path / "q.json", {"questions": [question(1)]}),
        write_file(tmp_path / "a.json", {"annotations": [same]}),
    )
    assert len(data[0].annotators) == 2
    assert len(set(data[0].annotators)) == 1


def test_questions_without_annotations_have_no_answers(vqa_paths: tuple[Path, Path]) -> None:
    example = read_vqa(vqa_paths[0])[1]
    assert (example.question_id, example.answers, example.answer_type) == (1, (), None)


@pytest.mark.parametrize(
    ("questions", "annotations", "message"),
    [
        ("{", [], "q.json: not JSON: .* line 1 column 2"),
        ([], [], "the file is a list, expected an object with questions"),
        ({"question": []}, [], "questions is missing"),
        ({"questions": [{"image_id": 1, "question": "?"}]}, [], r"questions\[0\].question_id is missing"),
        ({"questions": [question(1) | {"question_id": "1"}]}, [], r"question_id is str '1', expected int"),
        ({"questions": [question(1) | {"image_id": True}]}, [], "image_id is bool True"),
        (
            {"questions": [question(1) | {"question": "a\ud83d"}]},
            [],
            r"questions\[0\].question is .* character 1",
        ),
        ({"questions": [question(1), question(1)]}, [annotation(1)], r"questions\[1\].question_id 1 occurs"),
        ({"questions": [question(1)]}, [], "no annotation for question 1"),
        ({"questions": [question(1)]}, [annotation(1), annotation(3)], "1 annotations have no question"),
        ({"questions": [question(1)]}, [annotation(1), annotation(1)], r"annotations\[1\].* occurs twice"),
        ({"questions": [question(1)]}, [annotation(1, 9)], "about image 7"),
        ({"questions": [question(1)]}, [annotation(1) | {"answers": []}], "answers is empty"),
        (
            {"questions": [question(1)]},
            [annotation(1) | {"answers": [{"answer_id": 1}]}],
            r"a.json: annotations\[0\].answers\[0\].answer is missing",
        ),
    ],
)
def test_malformed_vqa_file_error_names_location(
    tmp_path: Path, questions: Any, annotations: list[Any], message: str
) -> None:
    paths = (
        write_file(tmp_path / "q.json", questions),
        write_file(tmp_path / "a.json", {"annotations": annotations}),
    )
    with pytest.raises(DataError, match=message):
        read_vqa(*paths)


def test_too_deep_nesting_raises_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"q\.json: nested too deeply"):
        read_vqa(write_file(tmp_path / "q.json", '{"questions": ' + "[" * 100_000))


def test_missing_file_raises_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_vqa(tmp_path / "none.json")


def test_own_lines_with_wrong_suffix_error_names_jsonl(tmp_path: Path) -> None:
    line = '{"image": "x", "sentence": "?", "answer": "red"}\n'
    for name, lines in (("own.json", line * 2), ("own.csv", "photo,question,answer\nx,?,red\n")):
        with pytest.raises(DataError, match=r"a\.json: no such file.* ends in \.jsonl"):
            read_vqa(write_file(tmp_path / name, lines), tmp_path / "a.json")
    for read in (read_vqa, read_vqa_annotations):
        with pytest.raises(DataError, match=r"one object per line .* ends in \.jsonl"):
            read(tmp_path / "own.json")


def instances(**changes: Any) -> dict[str, Any]:
    box = {"id": 1, "image_id": 5, "category_id": 3, "bbox": [10, 20.5, 30, 40], "iscrowd": 1}
    return {
        "images": [
            {"id": 5, "file_name": "a.png", "height": 100, "width": 200},
            {"id": 6, "file_name": "b.png", "height": 50, "width": 60},
        ],
        "annotations": [
            box | changes,
            {"id": 2, "image_id": 5, "category_id": 4, "bbox": [0, 0, 1, 2], "attributes": {"color": "red"}},
        ],
        "categories": [{"id": 3, "name": "cat"}],
    }


def test_instances_are_read_per_image(tmp_path: Path) -> None:
    images = read_instances(write_file(tmp_path / "i.json", instances()))
    assert list(images) == [5, 6]
    image, empty = images[5], images[6]
    assert (image.file_name, image.size_hw, len(image)) == ("a.png", (100, 200), 2)
    assert torch.equal(image.boxes_xyxy_px, torch.tensor([[10.0, 20.5, 40.0, 60.5], [0.0, 0.0, 1.0, 2.0]]))
    assert image.category_ids.tolist() == [3, 4]
    assert image.category_names == ("cat", "")
    assert image.attributes == ({}, {"color": "red"})
    assert image.is_crowd.tolist() == [True, False]
    assert (len(empty), empty.boxes_xyxy_px.shape, empty.size_hw) == (0, (0, 4), (50, 60))
    reordered = dict(reversed(instances().items()))
    again = read_instances(write_file(tmp_path / "turned.json", reordered))
    assert list(again) == [5, 6]
    assert again[5].category_names == ("cat", "")


def test_boxes_without_width_or_height_are_dropped(tmp_path: Path) -> None:
    for bbox in ([1, 2, 0, 4], [1, 2, 3.5, 0.0]):
        image = read_instances(write_file(tmp_path / "i.json", instances(bbox=bbox)))[5]
        assert (len(image), image.category_ids.tolist(), image.boxes_xyxy_px.tolist()) == (
            1,
            [4],
            [[0, 0, 1, 2]],
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bbox": [1, 2, 3]}, r"annotations\[0\].bbox is \[1, 2, 3\], expected four numbers"),
        ({"bbox": [1, 2, float("nan"), 4]}, "expected four numbers"),
        ({"bbox": [1, 2, 3, 10**400]}, "expected four numbers"),
        ({"bbox": [1, 2, 3, -4]}, "positive width"),
        ({"bbox": [1, 2, 0]}, r"bbox is \[1, 2, 0\], expected four numbers"),
        ({"bbox": ["a", None, 0, 5]}, "expected four numbers"),
        ({"bbox": [1, 2, 3, 0, 9]}, "expected four numbers"),
        ({"bbox": [1, 2, 0, -4]}, "positive width"),
        ({"bbox": "1234"}, "bbox is str '1234', expected list"),
        ({"image_id": 9}, "image_id 9 is not among"),
        ({"category_id": 2**63}, r"annotations\[0\].category_id is int 9223372036854775808, expected one"),
    ],
)
def test_malformed_box_error_names_location(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_instances(write_file(tmp_path / "i.json", instances(**changes)))


def test_repeated_category_or_negative_size_is_rejected(tmp_path: Path) -> None:
    content = instances()
    content["categories"] *= 2
    with pytest.raises(DataError, match=r"categories\[1\]\.id 3 occurs twice"):
        read_instances(write_file(tmp_path / "i.json", content))
    for side in ("height", "width"):
        content = instances()
        content["images"][1][side] = -5
        with pytest.raises(DataError, match=rf"images\[1\]\.{side} is int -5, expected one from 0"):
            read_instances(write_file(tmp_path / "i.json", content))


def test_files_with_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "marked.json"
    path.write_text(json.dumps(instances()), encoding="utf-8-sig")
    assert list(read_instances(path)) == [5, 6]
    path.write_text('["yes", "no"]', encoding="utf-8-sig")
    assert list(AnswerVocabulary.load(path)) == read_answers(path) == ["yes", "no"]
    path.write_text("12\n13\n", encoding="utf-8-sig")
    assert read_image_ids(path) == [12, 13]


@pytest.mark.parametrize(
    "read",
    [
        read_captions,
        read_gqa,
        read_gqa_choices,
        read_lxmert_gqa,
        read_lxmert_pretraining,
        read_lxmert_vqa,
        read_question_answers,
        read_region_phrases,
        read_scene_graphs,
        read_vqa,
        read_vqa_annotations,
    ],
)
def test_garbage_collector_is_paused_while_reading_and_resumed_after(
    read: Callable[..., object], tmp_path: Path
) -> None:
    gc_enabled: list[bool] = []

    def start(name: str, total: int) -> Callable[[int], None]:
        gc_enabled.append(gc.isenabled())
        return lambda done: None

    # The mistakes of the files are found with their first record.
    path = write_file(tmp_path / "wrong.json", "[1]")
    assert gc.isenabled()
    with pytest.raises(DataError):
        read(path, progress=start)
    assert gc_enabled == [False]
    assert gc.isenabled()
