"""GQA's files: records, annotations, choices and scene graphs in the real format, readable and scored."""

import json
import random
import re
from collections import Counter
from pathlib import Path

from lxmert.data.gqa import read_gqa
from lxmert.data.gqa_scene_graphs import read_gqa_choices, read_scene_graphs
from lxmert.scenes import Scene, SceneObject, make_scene
from lxmert.scenes.gqa import GqaScene
from lxmert.scenes.gqa.existence import Exist, ExistNot, ExistRelated
from lxmert.scenes.gqa.records import choice_records, question_records, scene_graph
from lxmert.scenes.gqa.templates import KINDS
from lxmert.scenes.programs import has_values
from lxmert.training.metrics.gqa import gqa_scores
from tests.scenes.conftest import SPLITS, AskedGqa, answerer


def test_annotated_words_describe_their_annotated_object(asked_gqa: AskedGqa):
    marked = 0
    for picture, questions in asked_gqa:
        reader = answerer(picture.scene)
        for question in questions:
            for text, places in (question.wording, question.full_answer):
                words = [word.strip("?,.").lower() for word in text.split()]
                for place, object_id in places.items():
                    first, _, end = place.partition(":")
                    piece = words[int(first) : int(end) if end else int(first) + 1]
                    thing = reader.things[picture.object_ids.index(object_id)]
                    assert thing in reader.fitting(" ".join(piece)), (text, place)
                    marked += 1
    assert marked > 3000


def test_annotated_words_stand_for_the_objects_that_make_the_answer_true(asked_gqa: AskedGqa):
    """As in the real file: of several stars the one at the place, or of the value; none if none is there."""
    checked = Counter()
    for picture, questions in asked_gqa:
        for question in questions:
            meaning, is_yes = question.meaning, question.answer == "yes"
            objects, of_answer = (
                # In the order of the words: what is asked about comes before what it is related to.
                [picture.scene.objects[picture.object_ids.index(text.places[place])] for place in text.places]
                for text in (question.wording, question.full_answer)
            )
            if isinstance(meaning, ExistRelated):
                *_, relate = (step.argument for step in question.semantic if step.operation == "relate")
                ids = re.search(r"\(([\d,-]+)\)", relate)[1].split(",")
                for found in (objects, of_answer):
                    expected = ids[:1] if is_yes else []
                    assert [picture.object_id(obj) for obj in found[:-1]] == expected, question
            elif isinstance(meaning, ExistNot):
                for found in (objects, of_answer):
                    assert len(found) == 1 or not is_yes
                    assert all((obj.attribute(meaning.name) != meaning.value) == is_yes for obj in found)
            elif isinstance(meaning, Exist):  # and ExistThat
                shapes = {value for name, value in meaning.description if name == "shape"}
                of_shape = [obj for obj in picture.scene.objects if obj.shape in shapes]
                assert bool(objects) == (is_yes or bool(of_shape)), question
                assert all(has_values(obj, dict(meaning.description)) == is_yes for obj in objects)
                assert len(of_answer) == is_yes
            else:
                continue
            checked[meaning.kinds, is_yes] += 1
    assert len(checked) == 10
    assert min(checked.values()) > 15


def test_choices_contain_answer_and_have_length_of_question_kind(asked_gqa: AskedGqa):
    lengths = Counter()
    for _, questions in asked_gqa:
        records = choice_records(questions, 3)
        for (question_id, choices), question in zip(records.items(), questions, strict=True):
            assert question_id.isdigit()
            assert question.answer in choices["plausible"]
            assert set(choices["plausible"]) <= set(choices["valid"])
            assert len(set(choices["valid"])) == len(choices["valid"]) >= 2
            if KINDS[question.kind].structural == "choose":
                assert len(choices["valid"]) == 2
            lengths[len(choices["valid"])] += 1
    assert {2, 3, 6, 8} == set(lengths)


def test_records_have_the_keys_of_the_real_file(asked_gqa: AskedGqa, shared_data):
    real = json.loads((shared_data / "gqa" / "testdev_balanced_questions.json").read_text())
    example = next(iter(real.values()))
    for picture, questions in asked_gqa[:40]:
        for record in question_records(questions, picture, "scenes_train_000000000012", 12).values():
            assert record.keys() == example.keys()
            for key, value in example.items():
                assert isinstance(record[key], type(value)), key
            assert record["types"].keys() == example["types"].keys()
            assert record["groups"].keys() == example["groups"].keys()
            assert record["annotations"].keys() == example["annotations"].keys()
            assert all(step.keys() == example["semantic"][0].keys() for step in record["semantic"])
            assert record["imageId"] == "scenes_train_000000000012"


def test_scene_graph_lists_objects_and_unambiguous_relations():
    def small_red_object(shape: str, x: int, y: int) -> SceneObject:
        return SceneObject(shape, "red", "small", "solid", (x, y, x + 20, y + 24))

    background = make_scene(random.Random(0)).background
    scene = Scene(
        (200, 100), (small_red_object("star", 10, 10), small_red_object("heart", 60, 12)), background
    )
    assert scene_graph(GqaScene(scene, ["41", "42"])) == {
        "width": 100,
        "height": 200,
        "objects": {
            "41": {
                "name": "star",
                "x": 10,
                "y": 10,
                "w": 20,
                "h": 24,
                "attributes": ["small", "solid", "red"],
                "relations": [{"object": "42", "name": "to the left of"}],
            },
            "42": {
                "name": "heart",
                "x": 60,
                "y": 12,
                "w": 20,
                "h": 24,
                "attributes": ["small", "solid", "red"],
                "relations": [{"object": "41", "name": "to the right of"}],
            },
        },
    }


def test_gqa_files_are_readable_and_refer_to_same_images_and_objects(dataset_on_disk):
    ids = []
    for split in SPLITS:
        questions = read_gqa(dataset_on_disk.path(f"gqa_{split}_questions"))
        choices = read_gqa_choices(dataset_on_disk.path(f"gqa_{split}_choices"))
        graphs = read_scene_graphs(dataset_on_disk.path(f"gqa_{split}_scene_graphs"))
        instances = dataset_on_disk.read(f"instances_{split}")
        names = {image["id"]: Path(image["file_name"]).stem for image in instances["images"]}
        assert set(graphs) == {example.image_id for example in questions} == set(names.values())
        assert set(choices) == set(questions.by_id)
        for example in questions:
            assert example.answer in choices[example.question_id].valid
            assert {*example.entailed, *example.equivalent} <= set(questions.by_id)
            assert all(questions.by_id[other].image_id == example.image_id for other in example.entailed)
            objects = graphs[example.image_id].objects
            assert {one for places in example.annotations.values() for one in places.values()} <= set(objects)
        for one in instances["annotations"]:
            thing = graphs[names[one["image_id"]]].objects[str(one["id"])]
            assert list(thing.box_xywh_px) == one["bbox"]
            assert set(thing.attributes) == set(one["attributes"].values())
        ids += [example.question_id for example in questions]
    assert len(set(ids)) == len(ids)


def test_official_gqa_scores_of_true_answers_are_100(dataset_on_disk):
    """Accuracy, consistency, validity and plausibility need entailed questions and choices that fit."""
    questions = read_gqa(dataset_on_disk.path("gqa_val_questions"))
    choices = read_gqa_choices(dataset_on_disk.path("gqa_val_choices"))
    truth = {example.question_id: example.answer for example in questions}
    scores = gqa_scores(truth, questions, choices=choices)
    assert (scores.accuracy, scores.consistency, scores.validity, scores.plausibility) == (100,) * 4
    assert scores.distribution == 0
