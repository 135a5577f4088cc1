"""Scoring a model on annotated questions with the official metric.

Shapes: B questions of a batch, C answers.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.collation import QuestionCollator, QuestionDataset, TargetKind
from lxmert.data.files import VqaFiles
from lxmert.data.vqa_split import StartProgress, VqaSplit, no_progress
from lxmert.errors import ConfigurationError, DataError
from lxmert.processing import LxmertProcessor
from lxmert.training.metrics.vqa import VqaEvaluator, VqaScores, vqa_accuracy

DEFAULT_BATCH_SIZE = 512


@dataclass(frozen=True)
class VqaReport:
    """How a model did on one split.

    Attributes:
        split: The split's name.
        scores: The official figures.
        predictions: Question id to predicted answer.
        answerable: Questions with an answer in the model's vocabulary, of `scores.questions`.
        seconds: Time of the model's passes, without reading and looking at images.
    """

    split: str
    scores: VqaScores
    predictions: dict[int, str]
    answerable: int
    seconds: float

    @property
    def accuracy(self) -> float:
        """Official overall accuracy in percent."""
        return self.scores.overall

    @property
    def per_family(self) -> dict[str, float]:
        """Accuracy per question type in percent."""
        return self.scores.per_question_type

    def to_dict(self) -> dict[str, Any]:
        """Every figure but the single predictions."""
        return {"split": self.split, **self.scores.to_dict(), "answerable": self.answerable}


def evaluate_vqa(
    model: PreTrainedModel,
    processor: LxmertProcessor,
    data_dir: str | Path,
    split: str = "test",
    limit: int | None = None,
    *,
    files: VqaFiles | None = None,
    features: Path | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    evaluator: VqaEvaluator = VqaEvaluator.PRESENT,
    progress: StartProgress = no_progress,
) -> VqaReport:
    """Recompute a question answering model's accuracy over a data directory.

    Args:
        model: A question answering model; put into evaluation mode, used on its device.
        processor: Its processor, with extractor and answers.
        data_dir: Directory in the layout of `lxmert scenes make`, or another one described by `files`.
        split: The split's name.
        limit: Only the first so many questions; None for all.
        files: The directory's layout.
        features: Feature store that holds the images' regions already; None extracts them.
        batch_size: Questions per batch.
        evaluator: Version of the official evaluator.
        progress: Shows how far it is.

    Raises:
        ConfigurationError: The processor has no answers or no extractor.
        DataError: A file is missing or malformed, or the split has no question.
        ImageError: An image cannot be read.
    """
    answers = answers_of(processor)
    wanted = VqaSplit(Path(data_dir), split, files or VqaFiles(), first_questions=limit, features=features)
    dataset = wanted.dataset(processor, answers, progress=progress)
    if len(dataset) == 0:
        raise DataError(f"split {split} of {data_dir} has no question to score")
    collate = QuestionCollator(
        dataset.regions, processor.tokenizer.pad_token_id, len(answers), TargetKind.CLASS
    )
    start = time.perf_counter()
    advance = progress(f"Answering {split} questions", len(dataset))
    labels = predict_labels(model, dataset, collate, batch_size=batch_size, advance=advance)
    return score_labels(
        labels, dataset, answers, split, evaluator=evaluator, seconds=time.perf_counter() - start
    )


def answers_of(processor: LxmertProcessor) -> AnswerVocabulary:
    """The processor's answers as a vocabulary.

    Raises:
        ConfigurationError: The processor has none.
    """
    if processor.answers is None:
        raise ConfigurationError(
            "the model's folder has no answers.json, so its scores cannot become answers"
        )
    return AnswerVocabulary(processor.answers)


@torch.inference_mode()
def predict_labels(
    model: PreTrainedModel,
    dataset: QuestionDataset,
    collate: QuestionCollator,
    *,
    batch_size: int = DEFAULT_BATCH_SIZE,
    advance: Callable[[int], None] = lambda questions: None,
) -> list[int]:
    """The class id the model scores highest, for each question in the data set's order."""
    model.eval()
    predicted = torch.empty(len(dataset), dtype=torch.int64)
    # Like lengths together: less padding.
    order = torch.argsort(torch.tensor(dataset.lengths), stable=True)
    for rows in order.split(batch_size):
        batch = collate([dataset[row] for row in rows.tolist()])
        del batch["labels"]
        outputs = model(**{name: tensor.to(model.device) for name, tensor in batch.items()})
        predicted[rows] = outputs.question_answering_score.argmax(dim=-1).cpu()
        advance(len(rows))
    return predicted.tolist()


def score_labels(
    labels: Sequence[int],
    dataset: QuestionDataset,
    answers: AnswerVocabulary,
    split: str,
    *,
    evaluator: VqaEvaluator = VqaEvaluator.PRESENT,
    seconds: float = 0.0,
) -> VqaReport:
    """Turn predicted class ids, one per example of the data set, into the official figures."""
    predictions = {
        example.question_id: answers[label] for example, label in zip(dataset.examples, labels, strict=True)
    }
    scores = vqa_accuracy(predictions, dataset.examples, evaluator)
    return VqaReport(split, scores, predictions, dataset.answerable, seconds)
