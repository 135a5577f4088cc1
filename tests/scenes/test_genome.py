"""Visual Genome's formats: region phrases true of their boxes, questions with free-form answers."""

import random
import re

import pytest

from lxmert.data.answer_table import normalise_table_answer
from lxmert.data.visual_genome_texts import read_coco_ids, read_question_answers, read_region_phrases
from lxmert.scenes import answer_list, make_scene
from lxmert.scenes.genome import free_answer, question_answers, region_descriptions
from tests.scenes.conftest import SPLITS, answerer
from tests.scenes.english import NP, SIDE, constraints


def boxes_fitting(scene, phrase: str) -> list[tuple[int, int, int, int]]:
    reader = answerer(scene)
    fitting = reader.fitting(phrase)
    return [
        thing.box_xyxy_px for thing, read in zip(scene.objects, reader.things, strict=True) if read in fitting
    ]


def test_region_phrases_are_true_of_their_boxes():
    kinds = set()
    for k in range(150):
        scene = make_scene(random.Random(k))
        record = region_descriptions(scene, 4, random.Random(-k))
        assert record["id"] == 5
        assert len({region["phrase"] for region in record["regions"]}) == len(record["regions"])
        assert 6 <= len(record["regions"]) <= 12
        for region in record["regions"]:
            box = (region["x"], region["y"], region["x"] + region["width"], region["y"] + region["height"])
            words = r"(?:the |an? )?" + NP
            found = re.fullmatch(rf"{words}(?: (?:is )?{SIDE} {words})?", region["phrase"])
            first, side, second = found.groups()
            kinds.add(side)
            if side is None:
                assert box in boxes_fitting(scene, first)
                continue
            assert constraints(first) != constraints(second), region
            axis = 0 if "left" in side or "right" in side else 1
            sign = -1 if any(word in side for word in ("left", "above", "higher")) else 1
            margin = 0.08 * scene.size_hw[1 - axis]
            assert any(
                box == (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
                and sign * (a[axis] + a[axis + 2] - b[axis] - b[axis + 2]) / 2 >= margin - 1e-9
                for a in boxes_fitting(scene, first)
                for b in boxes_fitting(scene, second)
            ), region
    assert kinds == {
        None,
        "left of",
        "to the left of",
        "right of",
        "to the right of",
        "above",
        "higher than",
        "below",
        "lower than",
    }


def test_free_answers_normalise_to_true_answers_of_answer_list():
    answers = set()
    for k in range(80):
        scene = make_scene(random.Random(k))
        reader = answerer(scene)
        record = question_answers(scene, 0, random.Random(k))
        assert len(record["qas"]) == 6
        for pair in record["qas"]:
            answer = normalise_table_answer(pair["answer"])
            assert answer in answer_list()
            assert reader.answer(pair["question"]) == answer not in ("yes", "no")
            answers.add(answer)
    assert {"0", "2", "red", "star", "left"} <= answers


@pytest.mark.parametrize(
    ("answer", "free"),
    [("3", "Three."), ("0", "0."), ("star", "A star."), ("left", "The left."), ("orange", "Orange.")],
)
def test_free_answers_are_phrases(answer: str, free: str):
    assert free_answer(answer) == free


def test_visual_genome_readers_read_generated_files(dataset_on_disk):
    for split in SPLITS:
        images = {image["id"] for image in dataset_on_disk.read(f"instances_{split}")["images"]}
        phrases = read_region_phrases(dataset_on_disk.path(f"vg_{split}_region_descriptions"))
        questions = read_question_answers(dataset_on_disk.path(f"vg_{split}_question_answers"))
        assert {one.image_id for one in phrases} == {one.image_id for one in questions} == images
        assert read_coco_ids(dataset_on_disk.path(f"vg_{split}_image_data")) == dict.fromkeys(images)
        data = dataset_on_disk.read(f"vg_{split}_image_data")
        assert all((dataset_on_disk.folder / image["url"]).is_file() for image in data)
        sizes = {image["id"]: image for image in dataset_on_disk.read(f"instances_{split}")["images"]}
        for image in data:
            assert (image["width"], image["height"]) == (
                sizes[image["image_id"]]["width"],
                sizes[image["image_id"]]["height"],
            )
        for kind, listed, key in (
            ("region_descriptions", "regions", "region_id"),
            ("question_answers", "qas", "qa_id"),
        ):
            ids = [one[key] for image in dataset_on_disk.read(f"vg_{split}_{kind}") for one in image[listed]]
            assert len(set(ids)) == len(ids)
