"""One made image as records of the official formats: COCO instances and captions, VQA v2.

All ids follow from the image's index alone, so a larger data set of the same seed extends a smaller one.
"""

import io
import json
import random
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from PIL import Image

from lxmert.scenes.annotators import annotate
from lxmert.scenes.captions import caption
from lxmert.scenes.drawing import draw_scene
from lxmert.scenes.lexicon import SHAPES
from lxmert.scenes.questions import Question, ask
from lxmert.scenes.randomness import stream
from lxmert.scenes.shapes import area
from lxmert.scenes.world import Scene, make_scene

SPLITS: Final = ("train", "val", "test")
QUESTIONS_PER_IMAGE: Final = 20
QUESTION_ID_STEP: Final = 1000
"""Question k of an image has id image_id * 1000 + k, as in VQA v2 where the step hides in the ids."""
_OBJECT_ID_STEP: Final = 100
CATEGORIES: Final = tuple(
    {"id": number, "name": shape, "supercategory": "shape"} for number, shape in enumerate(SHAPES, start=1)
)
_CATEGORY_ID: Final = {shape: number for number, shape in enumerate(SHAPES, start=1)}
_PNG_COMPRESSION: Final = zlib.Z_HUFFMAN_ONLY
"""In noise there are no repetitions to look for: this is three times as fast as the default, and smaller."""
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))


@dataclass
class ImageRecords:
    """Everything that is written about one image; each record is one line of JSON."""

    split: str
    file_name: str
    png: bytes
    image: str
    instances: list[str]
    captions: list[str]
    questions: list[str]
    annotations: list[str]
    answers: dict[str, Counter[str]] = field(default_factory=dict)
    """How often each answer occurs, by family."""


def split_of(index: int) -> str:
    """Of each ten images eight are for training, one for validation, one for testing."""
    return {8: "val", 9: "test"}.get(index % 10, "train")


def sample(
    seed: int, index: int, *, questions: int = QUESTIONS_PER_IMAGE
) -> tuple[Image.Image, Scene, list[Question]]:
    """Image `index` of the world `seed`, as `make_scenes` draws and asks it.

    Args:
        seed: Names the world, 0 or more.
        index: Which image of it, from 0.
        questions: How many questions to ask; fewer are the first ones of more.

    Returns:
        The picture, what it shows, and the questions.
    """
    scene = make_scene(stream(seed, index, "scene"))
    return draw_scene(scene), scene, ask(scene, stream(seed, index, "questions"), questions)


def image_records(seed: int, index: int, questions_per_image: int) -> ImageRecords:
    """Make image `index` of a data set and all its records."""
    picture, scene, questions = sample(seed, index, questions=questions_per_image)
    split, image_id = split_of(index), index + 1
    file_name = f"scenes_{split}_{image_id:012d}.png"
    stored = io.BytesIO()
    picture.save(stored, format="PNG", compress_type=_PNG_COMPRESSION)
    height, width = scene.size_hw
    records = ImageRecords(
        split=split,
        file_name=file_name,
        png=stored.getvalue(),
        image=to_json({"id": image_id, "file_name": file_name, "width": width, "height": height}),
        instances=_instances(scene, image_id),
        captions=[
            to_json({"id": image_id * _OBJECT_ID_STEP + k, "image_id": image_id, "caption": text})
            for k, text in enumerate(caption(scene, stream(seed, index, "captions")))
        ],
        questions=[],
        annotations=[],
    )
    _add_questions(records, questions, image_id, stream(seed, index, "annotators"))
    return records


def _add_questions(
    records: ImageRecords, questions: list[Question], image_id: int, annotators: random.Random
) -> None:
    for k, question in enumerate(questions):
        ids = {"image_id": image_id, "question_id": image_id * QUESTION_ID_STEP + k}
        records.questions.append(to_json({**ids, "question": question.text}))
        annotation = {
            **ids,
            "question_type": question.family,
            "answer_type": question.answer_type,
            "multiple_choice_answer": question.answer,
            "answers": annotate(question.answer, annotators),
            "program": [step.to_dict() for step in question.program],
        }
        records.annotations.append(to_json(annotation))
        records.answers.setdefault(question.family, Counter())[question.answer] += 1


def _instances(scene: Scene, image_id: int) -> list[str]:
    instances = []
    for k, thing in enumerate(scene.objects):
        x1, y1, x2, y2 = thing.box_xyxy_px
        instance = {
            "id": image_id * _OBJECT_ID_STEP + k,
            "image_id": image_id,
            "category_id": _CATEGORY_ID[thing.shape],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": round(area(thing.shape, thing.turn_deg, thing.diameter_px), 1),
            "iscrowd": 0,
            "attributes": {"color": thing.color, "size": thing.size, "fill": thing.fill},
        }
        instances.append(to_json(instance))
    return instances


def to_json(value: Any) -> str:
    """Compact JSON, keys in the order given."""
    return _ENCODER.encode(value)
