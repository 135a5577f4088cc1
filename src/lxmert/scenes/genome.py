"""Visual Genome's files: phrases about regions, questions with free answers, images.

Source of the format: the published files (Krishna et al. 2017, arXiv 1602.07332), JSON lists with one record
for each image. As there, answers are phrases with a capital and a full stop: "Three.", "A star."
"""

import random
from collections.abc import Sequence
from typing import Any, Final

from lxmert.scenes.image_ids import image_id_of, image_path
from lxmert.scenes.lexicon import NUMBER_WORDS, PLACES, RELATIONS, SHAPES, with_article
from lxmert.scenes.object_descriptions import describe, is_nested, phrase
from lxmert.scenes.programs import RELATION_MARGIN, offset
from lxmert.scenes.questions import FAMILIES, generate_questions
from lxmert.scenes.world import Scene, SceneObject

PHRASES: Final = 12
"""Phrases about an image."""
QUESTIONS: Final = 6
"""Questions about an image."""
_OPEN_FAMILIES: Final = tuple(family for family in FAMILIES if family.answer_type != "yes/no")
_ID_STEP: Final = 100
_PAIR_SHARE: Final = 0.4
"""Fraction of the phrases that are about two objects."""
_NAMES: Final = (("shape",), ("color", "shape"), ("size", "color", "shape"), ("fill", "color", "shape"))
_SINGLE_TEMPLATES: Final = ("{a}", "{one}", "the {one}")
_PAIR_TEMPLATES: Final = ("{a} {side} {a2}", "the {one} is {side} the {one2}", "{one} {side} {a2}")
TEMPLATES: Final = (*_SINGLE_TEMPLATES, *_PAIR_TEMPLATES)


def image_data(scene: Scene, index: int) -> dict[str, Any]:
    """The record of image_data.json; the address is the picture's path in the data set's directory."""
    height, width = scene.size_hw
    return {
        "image_id": image_id_of(index),
        "url": image_path(index),
        "width": width,
        "height": height,
        "coco_id": None,
        "flickr_id": None,
    }


def region_descriptions(scene: Scene, index: int, rng: random.Random) -> dict[str, Any]:
    """The record of region_descriptions.json: different phrases, each with the box of its objects."""
    image_id = image_id_of(index)
    phrases: dict[str, Sequence[SceneObject]] = {}
    for _ in range(2 * PHRASES):
        is_pair = len(scene.objects) > 1 and rng.random() < _PAIR_SHARE
        objects = rng.sample(scene.objects, 2 if is_pair else 1)
        text = _phrase(scene, objects, rng)
        if text is not None and len(phrases) < PHRASES:
            phrases.setdefault(text, objects)
    regions = [
        {"region_id": image_id * _ID_STEP + k, "image_id": image_id, "phrase": text, **_box(objects)}
        for k, (text, objects) in enumerate(phrases.items())
    ]
    return {"id": image_id, "regions": regions}


def _phrase(scene: Scene, objects: Sequence[SceneObject], rng: random.Random) -> str | None:
    descriptions = [describe(obj, rng.choice(_NAMES)) for obj in objects]
    if len(descriptions) == 2 and is_nested(*descriptions):
        return None
    words: dict[str, str] = {}
    for description, number in zip(descriptions, ("", "2"), strict=False):
        one = phrase(description, rng)
        words |= {f"one{number}": one, f"a{number}": with_article(one)}
    if len(objects) == 1:
        return rng.choice(_SINGLE_TEMPLATES).format(**words)
    direction = rng.choice(list(RELATIONS))
    if offset(scene, direction, *objects) < RELATION_MARGIN:
        return None
    return rng.choice(_PAIR_TEMPLATES).format(**words, side=rng.choice(RELATIONS[direction]))


def _box(objects: Sequence[SceneObject]) -> dict[str, int]:
    """The bounding box of some objects."""
    lefts, tops, rights, bottoms = zip(*(obj.box_xyxy_px for obj in objects), strict=True)
    x, y = min(lefts), min(tops)
    return {"x": x, "y": y, "width": max(rights) - x, "height": max(bottoms) - y}


def question_answers(scene: Scene, index: int, rng: random.Random) -> dict[str, Any]:
    """The record of question_answers.json: questions with other answers than yes and no."""
    image_id = image_id_of(index)
    pairs = [
        {
            "qa_id": image_id * _ID_STEP + k,
            "image_id": image_id,
            "question": question.text,
            "answer": free_answer(question.answer),
            "a_objects": [],
            "q_objects": [],
        }
        for k, question in enumerate(generate_questions(scene, rng, QUESTIONS, _OPEN_FAMILIES))
    ]
    return {"id": image_id, "qas": pairs}


def free_answer(answer: str) -> str:
    """An answer as people write it: "Three." for "3", "A star." for "star", "The left." for "left"."""
    words = answer
    if answer.isdigit():
        words = NUMBER_WORDS[int(answer)] if int(answer) else answer
    elif answer in SHAPES:
        words = with_article(answer)
    elif answer in PLACES:
        words = f"the {answer}"
    return f"{words[0].upper()}{words[1:]}."
