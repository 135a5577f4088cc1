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
from measuring.options import build_parser, parse_options
from measuring.results import Result, Table
from measuring.timing import log

from lxmert import LxmertPredictor, Regions
from lxmert.explain import METHODS
from lxmert.explain.case import Case, Weights
from lxmert.explain.faithfulness import AnnotatedQuestion, Faithfulness, faithfulness
from lxmert.explain.methods import Method
from lxmert.scenes import Question, Scene, sample
from lxmert.scenes.programs import has_values
from lxmert.vision.geometry import iou

SEED = 2019
"""Seed of a world that no embedded model was trained on."""
IMAGES, QUESTIONS_PER_IMAGE = 200, 5
OVERLAP = 0.5
"""Least intersection over union of a detected object and the drawn one."""
CHANCE = "chance"


@dataclass(frozen=True)
class PointingQuestion:
    """A question about a property of one object, and the index of that object among the detected ones."""

    regions: Regions
    text: str
    target: int


def main(arguments: list[str]) -> None:
    parser = build_parser(__doc__, 1)
    parser.add_argument("--pictures", type=int, help=f"made pictures ({IMAGES})")
    common = parse_options(parser, arguments, "explanations.py")
    pictures = _image_count(common.args)
    predictor = LxmertPredictor.from_pretrained("scenes", device="cpu")
    asked, pointed = _questions(predictor, pictures)
    methods = METHODS | {CHANCE: _random_method()}
    rows, raw = [], {}
    for name, method in methods.items():
        log(f"{name}: {len(asked)} questions, {len(pointed)} of them about one object")
        words = faithfulness(predictor, asked, method, "words")
        objects = faithfulness(predictor, asked, method, "objects")
        hits = sum(_points_at(predictor, question, method) for question in pointed) / len(pointed)
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


def _image_count(args: argparse.Namespace) -> int:
    return int(args.pictures or (4 if args.quick else IMAGES))


def _questions(
    predictor: LxmertPredictor, pictures: int
) -> tuple[list[AnnotatedQuestion], list[PointingQuestion]]:
    asked, pointed = [], []
    for index in range(pictures):
        image, scene, questions = sample(SEED, index, questions=QUESTIONS_PER_IMAGE)
        regions = predictor.regions(image)
        for question in questions:
            asked.append(AnnotatedQuestion(regions, question.text, question.answer))
            target = _single_object(question, scene, regions)
            if target is not None:
                pointed.append(PointingQuestion(regions, question.text, target))
    return asked, pointed


def _single_object(question: Question, scene: Scene, regions: Regions) -> int | None:
    """Return the index of the detected object that the question is about; None if it is not exactly one."""
    operations = [step.operation for step in question.program]
    if operations not in (["select", "unique", "query"], ["select", "unique", "half"]) or not len(regions):
        return None
    values = question.program[0].argument
    assert isinstance(values, dict)
    (place,) = (place for place, scene_object in enumerate(scene.objects) if has_values(scene_object, values))
    overlaps = iou(scene.boxes_xyxy_px()[place : place + 1], regions.boxes_xyxy_px)[0]  # (N,)
    return int(overlaps.argmax()) if float(overlaps.max()) >= OVERLAP else None


def _points_at(predictor: LxmertPredictor, question: PointingQuestion, method: Method) -> bool:
    return int(method(Case(predictor, question.regions, question.text)).objects.argmax()) == question.target


def _random_method() -> Method:
    generator = torch.Generator().manual_seed(0)

    def random_weights(case: Case) -> Weights:
        return Weights(
            torch.rand(len(case.words), generator=generator), torch.rand(case.objects, generator=generator)
        )

    return random_weights


def _areas(found: Faithfulness) -> Sequence[str]:
    return f"{found.most_first_area:.1%}", f"{found.least_first_area:.1%}"


def _curves(found: Faithfulness) -> Mapping[str, Sequence[float]]:
    return {"shares": found.shares, "most_first": found.most_first, "least_first": found.least_first}


if __name__ == "__main__":
    main(sys.argv[1:])
