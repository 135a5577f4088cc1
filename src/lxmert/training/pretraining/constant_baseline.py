"""The figures of the best constant predictor on the validation examples: the baseline of learning.

A constant predictor has the same output for every word, pair, object and question. Its best loss follows
from the targets alone: for classes the (weighted) entropy of their frequencies, for features and boxes the
loss of the best fixed vector. Its best accuracy is the fraction of the most frequent class; for answers, the
best mean score of any answer. A model whose loss is not well below has learned nothing but frequencies.

Shapes: B batch, O objects, D feature width, L labels.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lxmert.training.pretraining.target_counts import CLASS_TARGETS, CLASS_TASKS, OBJECT_TASKS, TASKS
from lxmert.training.pretraining.validation import ValidationData

# Vectors for which the best fixed one is determined; more are subsampled evenly, which bounds the memory.
_MAX_VECTORS = 20_000
# Bisections of the interval of the best number: to a millionth of its width.
_BISECTIONS = 20


@dataclass(frozen=True)
class ConstantBaseline:
    """The best constant prediction for a task.

    Attributes:
        loss: as `PretrainingReport.losses`.
        accuracy: percent; None for tasks without accuracy.
    """

    loss: float
    accuracy: float | None = None


@dataclass
class _ClassCounter:
    """How often each class id is a target, and its total weight."""

    counts: Counter[int] = field(default_factory=Counter)
    weights: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, ids: Tensor, weights: Tensor | None = None) -> None:
        labels = ids.tolist()
        self.counts.update(labels)
        each = [1.0] * len(labels) if weights is None else weights.tolist()
        for label, weight in zip(labels, each, strict=True):
            self.weights[label] += weight

    def best(self) -> ConstantBaseline | None:
        total = sum(self.weights.values())
        if not total:
            return None
        fractions = [weight / total for weight in self.weights.values() if weight > 0]
        top_fraction = max(self.counts.values()) / sum(self.counts.values())
        return ConstantBaseline(
            sum(fraction * math.log(1 / fraction) for fraction in fractions), 100 * top_fraction
        )


@dataclass
class _VectorSample:
    """An even sample of vectors."""

    sampled: list[Tensor] = field(default_factory=list)
    stride: int = 1

    def add(self, vectors: Tensor) -> None:
        self.sampled.append(vectors[:: self.stride].clone())
        if sum(map(len, self.sampled)) > _MAX_VECTORS:
            self.sampled = [torch.cat(self.sampled)[::2].clone()]
            self.stride *= 2

    def all(self) -> Tensor | None:
        vectors = torch.cat(self.sampled) if self.sampled else None
        return vectors if vectors is not None and len(vectors) else None


def constant_baselines(data: ValidationData) -> dict[str, ConstantBaseline]:
    """The best constant prediction of each task of which the examples have targets.

    Each of several processes visits all examples, so that none has to wait for another.
    """
    classes = {task: _ClassCounter() for task in TASKS}
    features, boxes, answers = _VectorSample(), _VectorSample(), _AnswerScores()
    for rows, batch in data.batches():
        _collect_classes(classes, batch)
        if "feat" in batch.get("obj_labels", {}):
            targets, weight = batch["obj_labels"]["feat"]
            features.add(targets[(weight > 0) & (batch["visual_attention_mask"] != 0)])
        boxes.add(batch["visual_pos"][batch["visual_attention_mask"] != 0])
        if "ans" in batch:
            answers.add([data.dataset.answer_scores(row) for row in rows.tolist()], batch["ans"])
    baselines = {task: best for task, counter in classes.items() if (best := counter.best()) is not None}
    if "qa" in baselines:
        baselines["qa"] = ConstantBaseline(baselines["qa"].loss, answers.best())
    if (vectors := features.all()) is not None:
        baselines["feature_regression"] = ConstantBaseline(smooth_l1_of_best_vector(vectors))
    if (vectors := boxes.all()) is not None:
        middle = vectors.median(dim=0).values
        baselines["places"] = ConstantBaseline((vectors - middle).abs().sum(dim=1).mean().item())
    return baselines


def smooth_l1_of_best_vector(vectors: Tensor) -> float:
    """The mean smooth L1 error of the best fixed vector for vectors (L, D).

    The slope of the error is monotonic in the prediction, so bisection finds its zero.
    """
    low, high = vectors.amin(dim=0), vectors.amax(dim=0)  # (D,)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        slope = (middle - vectors).clamp(-1, 1).sum(dim=0)
        low, high = torch.where(slope < 0, middle, low), torch.where(slope < 0, high, middle)
    best = ((low + high) / 2).expand_as(vectors)
    return F.smooth_l1_loss(best, vectors).item()


@dataclass
class _AnswerScores:
    """The total score that each answer would have if it were always predicted."""

    points: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    questions: int = 0

    def add(self, scores: Sequence[Mapping[int, float]], drawn: Tensor) -> None:
        for known, answer in zip(scores, drawn.tolist(), strict=True):
            if answer >= 0:
                self.questions += 1
                for label, score in known.items():
                    self.points[label] += score

    def best(self) -> float:
        return 100 * max(self.points.values(), default=0) / max(self.questions, 1)


def _collect_classes(classes: Mapping[str, _ClassCounter], batch: Mapping[str, Any]) -> None:
    for task, name in CLASS_TARGETS.items():
        if name in batch:
            ids = batch[name]
            classes[task].add(ids[ids >= 0])
    real = batch["visual_attention_mask"] != 0
    for task in CLASS_TASKS:
        pair = batch.get("obj_labels", {}).get(OBJECT_TASKS[task])
        if pair is not None:
            ids, weights = pair
            counts = real & (ids >= 0) & (weights > 0)
            classes[task].add(ids[counts], weights[counts])
