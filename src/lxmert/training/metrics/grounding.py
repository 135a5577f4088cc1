"""GQA's grounding score: how much attention falls on the objects that a question is about.

Source: the GQA evaluator `eval.py`. It has two bugs: attention over objects fails with an error there, and is
scored here as its comments intend; the whole image is meant to count for questions about the scene, but the
test for them is never true, which is kept because published figures depend on it.

Coordinates are 0..1 of the image. Shapes: S cells along each side of an attention map.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from lxmert.data.gqa import GqaExample
from lxmert.data.gqa_scene_graphs import GqaSceneGraph
from lxmert.errors import DataError
from lxmert.training.metrics.sums import plain_sum

AttentionKind = Literal["map", "objects"]
"""The domain of an attention: S × S cells of the image, or boxes given as x0, y0, x1, y1, attention."""

_NUMBERS_PER_OBJECT = 5


class _Box(NamedTuple):
    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def area(self) -> float:
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    def share_inside(self, other: "_Box") -> float:
        """The fraction of this box's area inside the other."""
        width = max(0.0, min(self.x1, other.x1) - max(self.x0, other.x0))
        height = max(0.0, min(self.y1, other.y1) - max(self.y0, other.y0))
        return width * height / self.area if self.area else 0.0


def grounding_score(
    question: GqaExample,
    scene_graph: GqaSceneGraph,
    attention: Sequence[Sequence[float]],
    kind: AttentionKind = "map",
) -> float:
    """Attention on the objects of a question and its full answer; each mention of an object counts.

    Args:
        question: The question, with its pointers to objects.
        scene_graph: Of its image.
        attention: kind "map": S rows of S numbers, row i being the cells from i / S to (i + 1) / S along
            **x**; kind "objects": rows x0, y0, x1, y1 (0..1), attention.
        kind: The domain of the attention.

    Returns:
        Usually 0..1, more if objects overlap; 0 if the question mentions no object.

    Raises:
        DataError: The attention has another form, or an object is not in the scene graph.
    """
    cells = list(_map_cells(question, attention) if kind == "map" else _object_cells(question, attention))
    regions = [
        _region(question, scene_graph, pointer)
        for part in ("question", "fullAnswer")
        for pointer in question.annotations.get(part, {}).values()
    ]
    return plain_sum(weight * cell.share_inside(region) for region in regions for cell, weight in cells)


def _map_cells(question: GqaExample, attention: Sequence[Sequence[float]]) -> Iterator[tuple[_Box, float]]:
    size = len(attention)
    if not size or any(len(row) != size for row in attention):
        raise DataError(
            f"the attention map of question {question.question_id} has {size} rows of "
            f"{sorted({len(row) for row in attention})} numbers; expected a square map"
        )
    edge = 1 / size
    for i, row in enumerate(attention):
        for j, weight in enumerate(row):
            yield _Box(edge * i, edge * j, edge * (i + 1), edge * (j + 1)), weight


def _object_cells(question: GqaExample, attention: Sequence[Sequence[float]]) -> Iterator[tuple[_Box, float]]:
    for row in attention:
        if len(row) != _NUMBERS_PER_OBJECT:
            raise DataError(
                f"an attention of question {question.question_id} has {len(row)} numbers; "
                "expected x0, y0, x1, y1, attention"
            )
        yield _Box(*row[:4]), row[4]


def _region(question: GqaExample, scene_graph: GqaSceneGraph, pointer: str) -> _Box:
    target = scene_graph.objects.get(pointer)
    if target is None:
        raise DataError(
            f"question {question.question_id} points to object {pointer}, which is not in the scene graph "
            f"of image {question.image_id}; use the scene graphs of the same split"
        )
    height, width = scene_graph.size_hw
    left, top, object_width, object_height = target.box_xywh_px
    return _Box(left / width, top / height, (left + object_width) / width, (top + object_height) / height)
