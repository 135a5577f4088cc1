"""GQA's files: questions, possible answers and scene graphs of one image.

Source of the format: the published files (Hudson & Manning 2019, arXiv 1902.09506), JSON objects from
question id or image id to a record. Question k of image i has the id i * 1000 + k, as digits with leading
zeros; the object ids of scene graphs are those of the COCO instances; an image has the name of its file.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from lxmert.scenes.gqa.entailment import is_entailed, knowledge_from
from lxmert.scenes.gqa.generation import GqaQuestion
from lxmert.scenes.gqa.references import GqaScene
from lxmert.scenes.gqa.semantics import DIRECTIONS, semantic_string
from lxmert.scenes.gqa.templates import KINDS
from lxmert.scenes.image_ids import QUESTION_ID_STEP
from lxmert.scenes.programs import AmbiguousProgramError, is_beside

_ID_DIGITS: Final = 10


def question_records(
    questions: Sequence[GqaQuestion], gqa_scene: GqaScene, image_name: str, image_id: int
) -> dict[str, dict[str, Any]]:
    """The records of questions, by their ids."""
    ids = question_ids(questions, image_id)
    entailed = _entailed(questions)
    records = {}
    for k, question in enumerate(questions):
        same = [other for other in entailed[k] if k in entailed[other]]
        kind = KINDS[question.kind]
        answer_object = question.meaning.answer_object_id(question.answer, gqa_scene)
        records[ids[k]] = {
            "semantic": [step.to_dict() for step in question.semantic],
            "entailed": [ids[other] for other in entailed[k]],
            "equivalent": [ids[k], *(ids[other] for other in same)],
            "question": question.wording.text,
            "imageId": image_name,
            "isBalanced": question.is_balanced,
            "groups": {"global": question.meaning.global_group, "local": question.meaning.local_group},
            "answer": question.answer,
            "semanticStr": semantic_string(question.semantic),
            "annotations": {
                "answer": {} if answer_object is None else {"0": answer_object},
                "question": question.wording.places,
                "fullAnswer": question.full_answer.places,
            },
            "types": {
                "detailed": question.detailed,
                "semantic": kind.semantic,
                "structural": kind.structural,
            },
            "fullAnswer": question.full_answer.text,
        }
    return records


def question_ids(questions: Sequence[GqaQuestion], image_id: int) -> list[str]:
    """One id for each question of an image."""
    return [f"{image_id * QUESTION_ID_STEP + k:0{_ID_DIGITS}d}" for k in range(len(questions))]


def _entailed(questions: Sequence[GqaQuestion]) -> list[list[int]]:
    """For each question the indices of those whose answers follow from its answer."""
    entailed = []
    for k, question in enumerate(questions):
        facts = knowledge_from(question.meaning, question.answer)
        others = enumerate((other.meaning, other.answer) for other in questions)
        entailed.append([n for n, other in others if n != k and is_entailed(*other, facts)])
    return entailed


def choice_records(questions: Sequence[GqaQuestion], image_id: int) -> dict[str, dict[str, list[str]]]:
    """Valid and plausible answers by question id."""
    records = {}
    for question_id, question in zip(question_ids(questions, image_id), questions, strict=True):
        valid, plausible = question.meaning.choices(question.answer)
        records[question_id] = {"valid": list(valid), "plausible": list(plausible)}
    return records


def scene_graph(gqa_scene: GqaScene) -> dict[str, Any]:
    """The scene graph of a picture, with unambiguous relations only."""
    height, width = gqa_scene.scene.size_hw
    objects = {}
    for object_id, obj in zip(gqa_scene.object_ids, gqa_scene.scene.objects, strict=True):
        x1, y1, x2, y2 = obj.box_xyxy_px
        relations = [
            {"object": other_id, "name": name}
            for other_id, other in zip(gqa_scene.object_ids, gqa_scene.scene.objects, strict=True)
            if other is not obj
            for direction, name in DIRECTIONS.items()
            if _is_clearly_beside(gqa_scene, direction, obj, other)
        ]
        objects[object_id] = {
            "name": obj.shape,
            "x": x1,
            "y": y1,
            "w": x2 - x1,
            "h": y2 - y1,
            "attributes": [obj.size, obj.fill, obj.color],
            "relations": relations,
        }
    return {"width": width, "height": height, "objects": objects}


def _is_clearly_beside(gqa_scene: GqaScene, direction: str, *objects: Any) -> bool:
    try:
        return is_beside(gqa_scene.scene, direction, *objects)
    except AmbiguousProgramError:
        return False


def guesses(questions: Sequence[GqaQuestion]) -> dict[str, Counter[str]]:
    """Count how often each blind guess is correct, by kind of balanced question."""
    counted: dict[str, Counter[str]] = {}
    for question in questions:
        if question.is_balanced:
            # The requested attribute is part of the question, so a guess may depend on it.
            attribute = question.meaning.global_group
            kind = question.kind.partition(".")[0] + (f" {attribute}" if attribute else "")
            counted.setdefault(kind, Counter())[question.meaning.blind_guess(question.answer)] += 1
    return counted
