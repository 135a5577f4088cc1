"""Quality of explanations: four methods on the embedded model and held-out made images, against chance.

Writes Markdown and JSON. Run from the repository root: `.venv/bin/python benchmarks/explanations.py`. Nothing
is timed here. There are two measures: the perturbation test (`lxmert.explain.faithfulness`), and whether the
object of highest weight is the one that a question is about, which is known for questions on a property of a
single object of the made world ("What color is the big circle?").
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from measuring.options import parsed, parser_of
from measuring.results import Result, Table
from measuring.rounds import say

from lxmert import LxmertPredictor, Regions
from lxmert.explain import METHODS
from lxmert.explain.case import Case, Weights
from lxmert.explain.explaining import Method
from lxmert.explain.faithfulness import AskedQuestion, Faithfulness, faithfulness
from lxmert.scenes import Question, Scene, sample
from lxmert.scenes.programs import has
from lxmert.vision.geometry import iou

SEED = 2019
"""Seed of a world that no embedded model was trained on."""
PICTURES, QUESTIONS_PER_PICTURE = 200, 5
OVERLAP = 0.5
"""Least intersection over union of a detected object and the drawn one."""
CHANCE = "chance"


@dataclass(frozen=True)
class Pointed:
    """A question about a property of one object, and the index of that object among the detected ones."""

    regions: Regions
    text: str
    wanted: int


def main(arguments: list[str]) -> None:
    parser = parser_of(__doc__, 1)
    parser.add_argument("--pictures", type=int, help=f"made pictures ({PICTURES})")
    common = parsed(parser, arguments, "explanations.py")
    pictures = _pictures(common.given)
    predictor = LxmertPredictor.from_pretrained("scenes", device="cpu")
    asked, pointed = _questions(predictor, pictures)
    methods = METHODS | {CHANCE: _by_lot()}
    rows, raw = [], {}
    for name, method in methods.items():
        say(f"{name}: {len(asked)} questions, {len(pointed)} of them about one object")
        words = faithfulness(predictor, asked, method, "words")
        objects = faithfulness(predictor, asked, method, "objects")
        hits = sum(_points_at(predictor, one, method) for one in pointed) / len(pointed)
        rows.append((name, *_areas(objects), f"{hits:.1%}", *_areas(words)))
        raw[name] = {"objects": _curves(objects), "words": _curves(words), "points_at_object": hits}
    result = Result(
        name="explanations",
        title="What explanations are worth",
        about=f"{len(asked)} questions about {pictures} held-out made pictures, answered by the embedded "
        f"model from pixels ({raw[CHANCE]['objects']['most_first'][0]:.1%} right). Areas below accuracy as "
        "objects or words are taken away: with the weightiest first lower is better, with the least weighty "
        f"first higher. Beside them, for {len(pointed)} questions about a property of a single object, how "
        "often the weightiest object is that one.",
        command=common.command,
        settings={"pictures": pictures, "questions": len(asked), "pointed": len(pointed), "seed": SEED},
        raw=raw,
    )
    columns = (
        "method",
        "objects, weightiest first",
        "objects, least first",
        "weightiest object is the one asked about",
        "words, weightiest first",
        "words, least first",
    )
    result.tables.append(Table("Methods", columns, rows))
    result.write(common.results)


def _pictures(given: argparse.Namespace) -> int:
    return int(given.pictures or (4 if given.quick else PICTURES))


def _questions(predictor: LxmertPredictor, pictures: int) -> tuple[list[AskedQuestion], list[Pointed]]:
    asked, pointed = [], []
    for index in range(pictures):
        picture, scene, questions = sample(SEED, index, questions=QUESTIONS_PER_PICTURE)
        regions = predictor.regions(picture)
        for question in questions:
            asked.append(AskedQuestion(regions, question.text, question.answer))
            wanted = _single_object(question, scene, regions)
            if wanted is not None:
                pointed.append(Pointed(regions, question.text, wanted))
    return asked, pointed


def _single_object(question: Question, scene: Scene, regions: Regions) -> int | None:
    """Return the index of the detected object that the question is about; None if it is not exactly one."""
    operations = [step.operation for step in question.program]
    if operations not in (["select", "unique", "query"], ["select", "unique", "half"]) or not len(regions):
        return None
    values = question.program[0].argument
    assert isinstance(values, dict)
    (place,) = (place for place, thing in enumerate(scene.objects) if has(thing, values))
    overlaps = iou(scene.boxes_xyxy_px()[place : place + 1], regions.boxes_xyxy_px)[0]  # (N,)
    return int(overlaps.argmax()) if float(overlaps.max()) >= OVERLAP else None


def _points_at(predictor: LxmertPredictor, one: Pointed, method: Method) -> bool:
    return int(method(Case(predictor, one.regions, one.text)).objects.argmax()) == one.wanted


def _by_lot() -> Method:
    generator = torch.Generator().manual_seed(0)

    def by_lot(case: Case) -> Weights:
        return Weights(
            torch.rand(len(case.words), generator=generator), torch.rand(case.objects, generator=generator)
        )

    return by_lot


def _areas(found: Faithfulness) -> Sequence[str]:
    return f"{found.most_first_area:.1%}", f"{found.least_first_area:.1%}"


def _curves(found: Faithfulness) -> Mapping[str, Sequence[float]]:
    return {"shares": found.shares, "most_first": found.most_first, "least_first": found.least_first}


if __name__ == "__main__":
    main(sys.argv[1:])
