"""One made image as records of the official formats: COCO, VQA v2, GQA, NLVR2, Visual Genome."""

import io
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from PIL import Image

from lxmert.scenes import genome
from lxmert.scenes.annotators import annotate
from lxmert.scenes.captions import generate_captions
from lxmert.scenes.drawing import draw_scene
from lxmert.scenes.gqa import records as gqa
from lxmert.scenes.gqa.generation import generate_gqa_questions
from lxmert.scenes.gqa.references import GqaScene
from lxmert.scenes.image_ids import (
    OBJECT_ID_STEP,
    QUESTION_ID_STEP,
    image_id_of,
    image_name,
    image_path,
    split_of,
)
from lxmert.scenes.lexicon import SHAPES
from lxmert.scenes.pairs.records import build_group, pair_records
from lxmert.scenes.pairs.selection import count_correct_guesses
from lxmert.scenes.questions import Question, generate_questions
from lxmert.scenes.randomness import random_stream
from lxmert.scenes.scene_descriptions import generate_descriptions
from lxmert.scenes.shapes import area
from lxmert.scenes.world import Scene, make_scene

QUESTIONS_PER_IMAGE: Final = 20
CATEGORIES: Final = tuple(
    {"id": number, "name": shape, "supercategory": "shape"} for number, shape in enumerate(SHAPES, start=1)
)
_CATEGORY_ID: Final = {shape: number for number, shape in enumerate(SHAPES, start=1)}
_PNG_COMPRESSION: Final = zlib.Z_HUFFMAN_ONLY
"""Noise has no repetitions to search for: this is three times as fast as the default, and smaller."""
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))


@dataclass
class ImageRecords:
    """All files' records of one image.

    Attributes:
        split: Its split.
        path: Path of the picture in the data set's directory.
        png: The picture.
        lines: Records as lines of JSON, by kind of annotation file; files that are JSON objects have lines
            of a key and a value.
        counts: Counts that differ from the numbers of records in the files.
        answers: How often each answer occurs, by family of VQA questions.
        gqa_guesses: By kind of balanced GQA questions, how often each guess is right.
    """

    split: str
    path: str
    png: bytes
    lines: dict[str, list[str]]
    counts: Counter[str] = field(default_factory=Counter)
    answers: dict[str, Counter[str]] = field(default_factory=dict)
    gqa_guesses: dict[str, Counter[str]] = field(default_factory=dict)


def sample(
    seed: int, index: int, *, questions: int = QUESTIONS_PER_IMAGE
) -> tuple[Image.Image, Scene, list[Question]]:
    """Image `index` of the world `seed`, as `make_scenes` draws and asks it.

    Args:
        seed: Identifies the world, 0 or more.
        index: Index of the image, from 0.
        questions: Number of questions; a smaller number gives the first ones of a larger.

    Returns:
        The picture, its scene, and the questions.
    """
    scene = make_scene(random_stream(seed, index, "scene"))
    return (
        draw_scene(scene),
        scene,
        generate_questions(scene, random_stream(seed, index, "questions"), questions),
    )


def image_records(seed: int, index: int, questions_per_image: int) -> ImageRecords:
    """Make image `index` of a data set and all its records."""
    image, scene, questions = sample(seed, index, questions=questions_per_image)
    png_buffer = io.BytesIO()
    image.save(png_buffer, format="PNG", compress_type=_PNG_COMPRESSION)
    records = ImageRecords(split_of(index), image_path(index), png_buffer.getvalue(), {})
    _add_coco(records, scene, seed, index)
    _add_vqa(records, questions, seed, index)
    _add_gqa(records, scene, seed, index)
    _add_pairs(records, seed, index)
    _add_genome(records, scene, seed, index)
    return records


def _add_coco(records: ImageRecords, scene: Scene, seed: int, index: int) -> None:
    image_id = image_id_of(index)
    height, width = scene.size_hw
    file_name = f"{image_name(index)}.png"
    records.lines["images"] = _lines(
        [{"id": image_id, "file_name": file_name, "width": width, "height": height}]
    )
    records.lines["instances"] = _lines(_instances(scene, image_id))
    for kind, generate in (("captions", generate_captions), ("descriptions", generate_descriptions)):
        records.lines[kind] = _lines(
            {"id": image_id * OBJECT_ID_STEP + k, "image_id": image_id, "caption": text}
            for k, text in enumerate(generate(scene, random_stream(seed, index, kind)))
        )


def _instances(scene: Scene, image_id: int) -> list[dict[str, Any]]:
    instances = []
    for k, obj in enumerate(scene.objects):
        x1, y1, x2, y2 = obj.box_xyxy_px
        instance = {
            "id": image_id * OBJECT_ID_STEP + k,
            "image_id": image_id,
            "category_id": _CATEGORY_ID[obj.shape],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": round(area(obj.shape, obj.turn_deg, obj.diameter_px), 1),
            "iscrowd": 0,
            "attributes": {"color": obj.color, "size": obj.size, "fill": obj.fill},
        }
        instances.append(instance)
    return instances


def _add_vqa(records: ImageRecords, questions: Sequence[Question], seed: int, index: int) -> None:
    image_id, annotators = image_id_of(index), random_stream(seed, index, "annotators")
    asked, annotated = [], []
    for k, question in enumerate(questions):
        ids = {"image_id": image_id, "question_id": image_id * QUESTION_ID_STEP + k}
        asked.append({**ids, "question": question.text})
        annotation = {
            **ids,
            "question_type": question.family,
            "answer_type": question.answer_type,
            "multiple_choice_answer": question.answer,
            "answers": annotate(question.answer, annotators),
            "program": [step.to_dict() for step in question.program],
        }
        annotated.append(annotation)
        records.answers.setdefault(question.family, Counter())[question.answer] += 1
    records.lines["vqa_questions"] = _lines(asked)
    records.lines["vqa_annotations"] = _lines(annotated)


def _add_gqa(records: ImageRecords, scene: Scene, seed: int, index: int) -> None:
    image_id, name = image_id_of(index), image_name(index)
    ids = [str(image_id * OBJECT_ID_STEP + k) for k in range(len(scene.objects))]
    gqa_scene = GqaScene(scene, ids)
    questions = generate_gqa_questions(gqa_scene, random_stream(seed, index, "gqa"))
    records.lines["gqa_questions"] = _key_value_lines(
        gqa.question_records(questions, gqa_scene, name, image_id)
    )
    records.lines["gqa_choices"] = _key_value_lines(gqa.choice_records(questions, image_id))
    records.lines["gqa_scene_graphs"] = _key_value_lines({name: gqa.scene_graph(gqa_scene)})
    records.gqa_guesses = gqa.guesses(questions)
    records.counts["gqa_balanced"] = sum(question.is_balanced for question in questions)


def _add_pairs(records: ImageRecords, seed: int, index: int) -> None:
    group, indices = build_group(seed, index, random_stream(seed, index, "pairs"))
    records.lines["nlvr2"] = []
    if group is not None:
        records.lines["nlvr2"] = _lines(pair_records(group, indices))
        records.counts["nlvr2_by_sentence"] = count_correct_guesses(group.pairs, lambda pair: None)
        records.counts["nlvr2_by_left"] = count_correct_guesses(group.pairs, lambda pair: pair.left)
        records.counts["nlvr2_by_right"] = count_correct_guesses(group.pairs, lambda pair: pair.right)


def _add_genome(records: ImageRecords, scene: Scene, seed: int, index: int) -> None:
    regions = genome.region_descriptions(scene, index, random_stream(seed, index, "regions"))
    questions = genome.question_answers(scene, index, random_stream(seed, index, "free questions"))
    records.lines["vg_image_data"] = _lines([genome.image_data(scene, index)])
    records.lines["vg_region_descriptions"] = _lines([regions])
    records.lines["vg_question_answers"] = _lines([questions])
    records.counts["vg_regions"] = len(regions["regions"])
    records.counts["vg_questions"] = len(questions["qas"])


def _lines(values: Iterable[Any]) -> list[str]:
    return [to_json(value) for value in values]


def _key_value_lines(values: Mapping[str, Any]) -> list[str]:
    return [f"{to_json(key)}:{to_json(value)}" for key, value in values.items()]


def to_json(value: Any) -> str:
    """Compact JSON, keys in the order given."""
    return _ENCODER.encode(value)
