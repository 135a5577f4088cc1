"""Comparison of two sets of features of the same images: boxes by overlap, features by cosine, labels.

It shows whether an extractor reproduces reference features, such as those published with LXMERT.

Shapes: N, M boxes of one image in the first and the second set, P pairs of matched boxes, D features.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lxmert.data.feature_sources import FeatureSource
from lxmert.data.image_names import NameIndex
from lxmert.data.progress import Advance
from lxmert.errors import DataError
from lxmert.vision.geometry import iou
from lxmert.vision.regions import Regions

DEFAULT_IOU = 0.5


@dataclass(frozen=True)
class ImageComparison:
    """One image in both sets.

    Attributes:
        name: in the first set.
        boxes: number of boxes in the first and the second set.
        matched: number of pairs P, each box in at most one.
        mean_iou: overlap of the pairs.
        mean_cosine: of their features; None if the widths differ.
        mean_difference: of their features, Euclidean, relative to the first's length.
        same_objects: pairs with the same object id, None if a set has no ids.
        same_attributes: pairs with the same attribute id, likewise.
        same_size: whether height and width of the image are the same in both.
    """

    name: str
    boxes: tuple[int, int]
    matched: int
    mean_iou: float | None
    mean_cosine: float | None
    mean_difference: float | None
    same_objects: int | None
    same_attributes: int | None
    same_size: bool


@dataclass(frozen=True)
class FeatureComparison:
    """Two sets of features side by side; means are over all pairs of matched boxes.

    Attributes:
        images: images compared.
        only_first: names that only the first set has.
        only_second: names that only the second set has.
        boxes: number of boxes in the first and the second set.
        matched: number of pairs.
        mean_iou: overlap of the pairs.
        cosines: mean, fifth percentile and least cosine of the pairs; None if the widths differ.
        mean_difference: Euclidean distance of the pairs' features, relative to the first's length.
        object_agreement: fraction of the pairs with the same object id, None without ids.
        attribute_agreement: fraction of the pairs with the same attribute id, likewise.
        other_sizes: images whose height or width differs between the sets.
        per_image: the images, in the first set's order.
    """

    images: int
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    boxes: tuple[int, int]
    matched: int
    mean_iou: float | None
    cosines: Mapping[str, float] | None
    mean_difference: float | None
    object_agreement: float | None
    attribute_agreement: float | None
    other_sizes: tuple[str, ...]
    per_image: tuple[ImageComparison, ...]

    def least_similar(self, count: int) -> list[ImageComparison]:
        """The images that agree least, by the cosine of their features, else by overlap."""

        def similarity(image: ImageComparison) -> float:
            value = image.mean_iou if image.mean_cosine is None else image.mean_cosine
            return -1.0 if value is None else value

        return sorted(self.per_image, key=similarity)[:count]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def compare_features(
    first: FeatureSource,
    second: FeatureSource,
    min_iou: float = DEFAULT_IOU,
    start: Callable[[int], Advance] = lambda total: lambda step: None,
) -> FeatureComparison:
    """Match the boxes of each image that both sets have, and compare the pairs.

    Names match exactly, or else without extension and first folders: `photos/a.jpg` and `a`, not `b/a.jpg`.

    Args:
        first: the reference.
        second: the set compared with it.
        min_iou: minimum overlap of a pair of boxes.
        start: called with the number of images; returns a function to call with each step.

    Raises:
        DataError: no image is in both.
    """
    pairs, only_first, only_second = _pair_names(first.names, second.names)
    if not pairs:
        raise DataError(
            f"no image is in both; the first has names like {_example(first)}, the second {_example(second)}"
        )
    advance = start(len(pairs))
    images: list[ImageComparison] = []
    cosines: list[Tensor] = []
    for name, other in pairs:
        comparison, image_cosines = _compare_image(name, first[name], second[other], min_iou)
        images.append(comparison)
        cosines += [] if image_cosines is None else [image_cosines]
        advance(1)
    matched = sum(comparison.matched for comparison in images)
    return FeatureComparison(
        images=len(images),
        only_first=only_first,
        only_second=only_second,
        boxes=(
            sum(comparison.boxes[0] for comparison in images),
            sum(comparison.boxes[1] for comparison in images),
        ),
        matched=matched,
        mean_iou=_mean(images, "mean_iou"),
        cosines=_cosine_statistics(cosines),
        mean_difference=_mean(images, "mean_difference"),
        object_agreement=_agreement(images, "same_objects"),
        attribute_agreement=_agreement(images, "same_attributes"),
        other_sizes=tuple(comparison.name for comparison in images if not comparison.same_size),
        per_image=tuple(images),
    )


def pair_boxes(first: Regions, second: Regions, min_iou: float) -> tuple[Tensor, Tensor, Tensor]:
    """Pair boxes one to one, those with the largest overlap first.

    Boxes with different labels may coincide: of equal overlaps, pairs with equal object ids come first.

    Returns:
        Rows in the first set (P,) int64, rows in the second (P,) int64, overlaps (P,) float32.
    """
    overlaps = iou(first.boxes_xyxy_px, second.boxes_xyxy_px)  # (N, M)
    rows, columns = (overlaps >= max(min_iou, torch.finfo(torch.float32).tiny)).nonzero(as_tuple=True)
    values = overlaps[rows, columns]
    differs = torch.zeros(len(rows), dtype=torch.int64)
    if first.object_ids is not None and second.object_ids is not None:
        differs = (first.object_ids[rows] != second.object_ids[columns]).long()
    order = np.lexsort((differs.numpy(), -values.numpy()))
    free_rows, free_columns = [True] * len(first), [True] * len(second)
    chosen = []
    pairs = list(zip(rows.tolist(), columns.tolist(), strict=True))
    for index in order.tolist():
        row, column = pairs[index]
        if free_rows[row] and free_columns[column]:
            free_rows[row] = free_columns[column] = False
            chosen.append(index)
    selected = torch.tensor(chosen, dtype=torch.int64)
    return rows[selected], columns[selected], values[selected]


def _compare_image(
    name: str, first: Regions, second: Regions, min_iou: float
) -> tuple[ImageComparison, Tensor | None]:
    """Compare one image; returns the comparison and the cosine (P,) of each pair."""
    rows, columns, overlaps = pair_boxes(first, second, min_iou)
    cosines = differences = None
    if first.feature_dim == second.feature_dim:
        first_features, second_features = (
            first.features[rows].double(),
            second.features[columns].double(),
        )  # (P, D)
        lengths = first_features.norm(dim=1), second_features.norm(dim=1)
        products = (first_features * second_features).sum(dim=1)
        # Two vectors of zeros are equal, whatever their angle.
        cosines = torch.where(lengths[0] + lengths[1] > 0, products / (lengths[0] * lengths[1]), 1.0)
        cosines = torch.nan_to_num(cosines, nan=0.0).clamp(-1.0, 1.0)
        differences = (first_features - second_features).norm(dim=1) / lengths[0].clamp(min=1e-12)
    comparison = ImageComparison(
        name=name,
        boxes=(len(first), len(second)),
        matched=len(rows),
        mean_iou=_mean_of(overlaps),
        mean_cosine=_mean_of(cosines),
        mean_difference=_mean_of(differences),
        same_objects=_count_equal(first.object_ids, second.object_ids, rows, columns),
        same_attributes=_count_equal(first.attribute_ids, second.attribute_ids, rows, columns),
        same_size=first.size_hw == second.size_hw,
    )
    return comparison, cosines


def _pair_names(
    first: Sequence[str], second: Sequence[str]
) -> tuple[list[tuple[str, str]], tuple[str, ...], tuple[str, ...]]:
    """Pairs of names, names of the first alone, names of the second alone."""
    pairs: dict[str, str] = {name: name for name in set(first).intersection(second)}
    index = NameIndex(second)
    paired_second = set(pairs)
    for name in first:
        matches = [] if name in pairs else [second[position] for position in index.find(name)]
        if len(matches) == 1 and matches[0] not in paired_second:
            pairs[name] = matches[0]
            paired_second.add(matches[0])
    return (
        [(name, pairs[name]) for name in dict.fromkeys(first) if name in pairs],
        tuple(name for name in first if name not in pairs),
        tuple(name for name in second if name not in paired_second),
    )


def _example(source: FeatureSource) -> str:
    return repr(source.names[0]) if source.names else "(none)"


def _mean_of(values: Tensor | None) -> float | None:
    return None if values is None or not len(values) else float(values.double().mean())


def _count_equal(first: Tensor | None, second: Tensor | None, rows: Tensor, columns: Tensor) -> int | None:
    return None if first is None or second is None else int((first[rows] == second[columns]).sum())


def _mean(images: Sequence[ImageComparison], field: str) -> float | None:
    """The mean over all pairs of a field that holds the mean of each image's pairs."""
    weighted = [
        (getattr(image, field), image.matched) for image in images if getattr(image, field) is not None
    ]
    return math.fsum(v * n for v, n in weighted) / sum(n for _, n in weighted) if weighted else None


def _agreement(images: Sequence[ImageComparison], field: str) -> float | None:
    known = [(getattr(image, field), image.matched) for image in images if getattr(image, field) is not None]
    pairs = sum(matched for _, matched in known)
    return sum(same for same, _ in known) / pairs if pairs else None


def _cosine_statistics(cosines: Sequence[Tensor]) -> dict[str, float] | None:
    if not cosines or not sum(map(len, cosines)):
        return None
    values = torch.cat(list(cosines)).numpy()
    return {
        "mean": float(values.mean()),
        "fifth_percentile": float(np.percentile(values, 5)),
        "least": float(values.min()),
    }
