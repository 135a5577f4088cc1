"""Scoring a model in pre-training: loss and accuracy of each task, always on the same masks and pairs.

Losses are means over all targets in the validation examples (over words, not over batches of words); those
of objects are weighted means. Accuracies are in percent, overall and per source of sentences. Answers
are scored as the authors score them, by the soft score of the best answer: on matched pairs, where the
question belongs to the image, and, as in the original code, on all pairs, half of which have another sentence
and can be correct only by chance (specification section 3.7).

Shapes: B batch, O objects, T tasks, S sources.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor

from lxmert.data.progress import StartProgress, no_progress
from lxmert.model import LxmertForPreTrainingOutput
from lxmert.model.losses import labelled_object_masks
from lxmert.training.pretraining.target_counts import CLASS_TASKS, OBJECT_TASKS, TASKS, count_targets
from lxmert.training.pretraining.validation import ValidationData

MASKED = "_masked"
"""Suffix of the accuracies on masked objects only."""

MIXED_QA = "qa_all_pairs"
"""The original code's question answering accuracy, over matched and mismatched pairs."""

ACCURACIES = (
    "masked_words",
    "matched",
    *CLASS_TASKS,
    *(f"{task}{MASKED}" for task in CLASS_TASKS),
    "qa",
    MIXED_QA,
)


@dataclass(frozen=True)
class PretrainingReport:
    """The figures of one validation.

    Attributes:
        loss: the weighted sum of the losses, as in training.
        losses: by task, mean over its targets, not weighted by the recipe.
        weighted_losses: by task, its contribution to `loss`; these are the figures of the authors' logs.
        accuracies: by name of ACCURACIES, percent.
        per_source: the same by source of the sentences.
    """

    loss: float
    losses: Mapping[str, float]
    weighted_losses: Mapping[str, float]
    accuracies: Mapping[str, float]
    per_source: Mapping[str, Mapping[str, float]]

    def flatten(self) -> dict[str, float]:
        """All figures by flat names, for a log, such as accuracy_qa, and accuracy_qa/vqa for a source."""
        metrics = {"loss": self.loss}
        metrics |= {f"loss_{task}": value for task, value in self.losses.items()}
        metrics |= {f"weighted_loss_{task}": value for task, value in self.weighted_losses.items()}
        metrics |= {f"accuracy_{name}": value for name, value in self.accuracies.items()}
        for source, accuracies in self.per_source.items():
            metrics |= {f"accuracy_{name}/{source}": value for name, value in accuracies.items()}
        return metrics


@torch.no_grad()
def evaluate_pretraining(
    model: Any,
    data: ValidationData,
    weights: Mapping[str, float],
    accelerator: Accelerator,
    progress: StartProgress,
) -> PretrainingReport:
    """Score all examples, divided among processes.

    Args:
        model: an `LxmertInPreTraining`; in evaluation mode meanwhile.
        data: the examples.
        weights: of the tasks' losses, by task; those of weight 0 are left out.
        accelerator: the accelerator of the processes.
        progress: shows the progress.
    """
    was_training = model.training
    model.eval()
    advance = (progress if accelerator.is_main_process else no_progress)("Validation", len(data))
    sources = data.dataset.sources
    sums = torch.zeros(3, len(TASKS), dtype=torch.float64)
    scored = torch.zeros(2, len(ACCURACIES), len(sources), dtype=torch.float64)
    try:
        for rows, batch in data.batches(accelerator.process_index, accelerator.num_processes):
            batch = send_to_device(batch, accelerator.device)
            outputs = model(**batch, return_all_logits=False)
            counts = count_targets(batch)
            sums += torch.stack([_stack_losses(outputs) * counts.terms, counts.terms, counts.weights]).cpu()
            scores = [data.dataset.answer_scores(row) for row in rows.tolist()]
            hits = _count_correct(outputs, batch, scores)
            scored += _sum_per_source(hits, data.dataset.source_ids[rows], scored)
            advance(len(rows) * accelerator.num_processes)
    finally:
        model.train(was_training)
    if accelerator.num_processes > 1:
        sums, scored = (
            accelerator.reduce(part.to(accelerator.device), "sum").cpu() for part in (sums, scored)
        )
    return _build_report(sums, scored, weights, sources, model.config.visual_loss_normalizer)


def _stack_losses(outputs: LxmertForPreTrainingOutput) -> Tensor:
    """The model's losses in the order of TASKS, 0 if absent."""
    losses = outputs.losses or {}
    zero = torch.zeros((), device=next(iter(losses.values())).device)
    return torch.stack([losses.get(name, zero) for name in TASKS.values()])


def _count_correct(
    outputs: LxmertForPreTrainingOutput, batch: Mapping[str, Any], scores: Sequence[Mapping[int, float]]
) -> dict[str, tuple[Tensor, Tensor]]:
    """By name of ACCURACIES: points of each example (B,), and their maximum (B,)."""
    counted: dict[str, tuple[Tensor, Tensor]] = {}
    if outputs.prediction_logits is not None and "labels" in batch:
        counted["masked_words"] = _count_word_hits(outputs.prediction_logits, batch["labels"])
    if outputs.cross_relationship_score is not None and "matched_label" in batch:
        counted["matched"] = _count_hits(
            outputs.cross_relationship_score[:, None], batch["matched_label"][:, None]
        )
    targets, predicted = batch.get("obj_labels") or {}, outputs.object_scores or {}
    masked = (targets["feat"][1] > 0) if "feat" in targets else None
    # As in training, only the objects in the loss: of `object_label_loss: masked` the masked ones.
    in_loss = labelled_object_masks(
        targets, tuple(batch["visual_pos"].shape[:2]), batch["visual_attention_mask"]
    )
    for task in CLASS_TASKS:
        name = OBJECT_TASKS[task]
        if name in targets and name in predicted:
            ids = targets[name][0].masked_fill(~in_loss[name], -100)
            counted[task] = _count_hits(predicted[name], ids)
            if masked is not None:
                counted[f"{task}{MASKED}"] = _count_hits(predicted[name], ids.masked_fill(~masked, -100))
    if "ans" in batch and outputs.question_answering_score is not None:
        best = outputs.question_answering_score.argmax(dim=-1)
        points = torch.tensor(
            [known.get(answer, 0.0) for known, answer in zip(scores, best.tolist(), strict=True)]
        ).to(best.device)
        labelled = torch.tensor([bool(known) for known in scores]).to(best.device)
        matched = batch["ans"] >= 0
        counted["qa"] = (points * matched, matched.float())
        counted[MIXED_QA] = (points * labelled, labelled.float())
    return counted


def _count_hits(scores: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Correct predictions and numbers of labels of each example, from scores (B, N, C) and ids (B, N).

    Where there is no label, as on padding, the id is negative, and so equal to no prediction.
    """
    known = ids >= 0
    return (scores.argmax(dim=-1) == ids).sum(dim=1).float(), known.sum(dim=1).float()


def _count_word_hits(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """As `_count_hits`, from the scores (L, V) of only the labelled words among (B, W)."""
    known = labels >= 0
    correct = torch.zeros(len(labels), device=labels.device)
    correct.index_add_(0, known.nonzero()[:, 0], (scores.argmax(dim=-1) == labels[known]).to(correct))
    return correct, known.sum(dim=1).float()


def _sum_per_source(counted: Mapping[str, tuple[Tensor, Tensor]], source_ids: Tensor, like: Tensor) -> Tensor:
    """The points and counts of a batch summed by source: (2, names, S)."""
    summed = torch.zeros_like(like)
    for name, pair in counted.items():
        for row, values in enumerate(pair):
            summed[row, ACCURACIES.index(name)].index_add_(0, source_ids, values.cpu().to(like))
    return summed


def _build_report(
    sums: Tensor, scored: Tensor, weights: Mapping[str, float], sources: Sequence[str], factor: float
) -> PretrainingReport:
    losses: dict[str, float] = {}
    weighted: dict[str, float] = {}
    for index, task in enumerate(TASKS):
        summed, terms, target_weight = sums[:, index].tolist()
        if weights.get(task, 0.0) == 0 or target_weight == 0:
            continue
        weighted[task] = weights[task] * summed / terms
        losses[task] = summed / (factor if task in OBJECT_TASKS else 1.0) / target_weight
    return PretrainingReport(
        loss=sum(weighted.values()),
        losses=losses,
        weighted_losses=weighted,
        accuracies=_to_percent(scored.sum(dim=2)),
        per_source={source: _to_percent(scored[:, :, number]) for number, source in enumerate(sources)},
    )


def _to_percent(points_and_counts: Tensor) -> dict[str, float]:
    points, counts = points_and_counts.tolist()
    return {
        name: 100 * point / count
        for name, point, count in zip(ACCURACIES, points, counts, strict=True)
        if count
    }
