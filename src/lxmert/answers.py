"""The answers a model chooses from: read, checked, written, and picked by score.

answers.json is a JSON list of strings, the answer of class 0 first.

Shapes: B items of the batch, C answers.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lxmert.atomic_files import write_atomic
from lxmert.errors import InputError, TensorError, VocabularyError, first_line
from lxmert.faults import is_int_in_range, tensor_layout_fault

ANSWERS_FILE = "answers.json"


@dataclass(frozen=True)
class Answer:
    """One answer of a model: its text, its probability in 0..1 and its class number."""

    text: str
    probability: float
    label: int


def validate_answers(answers: Any) -> list[str]:
    """Return the answers as a list, once they are seen to be distinct strings; that of class 0 comes first.

    Raises:
        VocabularyError: empty, not a list of strings, or an answer listed twice.
    """
    if isinstance(answers, str) or not isinstance(answers, Sequence):
        raise VocabularyError(f"answers are a {type(answers).__name__}; expected a list of strings")
    if not answers:
        raise VocabularyError("the list of answers is empty; expected at least one")
    for label, answer in enumerate(answers):
        if not isinstance(answer, str):
            raise VocabularyError(f"answer {label} is a {type(answer).__name__}; expected a string")
    if len(set(answers)) < len(answers):
        duplicate = next(answer for label, answer in enumerate(answers) if answer in answers[:label])
        raise VocabularyError(
            f"the answer {duplicate!r} is listed twice; each class needs an answer of its own"
        )
    return list(answers)


def read_answers(path: str | Path) -> list[str]:
    """Read answers.json.

    Raises:
        VocabularyError: not JSON, or not a list of distinct strings.
    """
    try:
        answers = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        return validate_answers(answers)
    except (OSError, ValueError, RecursionError) as error:
        raise VocabularyError(f"{path}: not a list of answers ({error})") from error


def write_answers(path: str | Path, answers: Sequence[str]) -> None:
    """Write answers.json, one answer a line."""
    write_atomic(path, json.dumps(list(answers), ensure_ascii=False, indent=0) + "\n")


def best_answers(answers: Sequence[str], scores: Any, top_k: int = 1) -> list[list[Answer]]:
    """The best answers of each item, the most probable first.

    Args:
        answers: C answers in class order.
        scores: (B, C) or (C,) real numbers; the softmax over all C gives the probabilities.
        top_k: number of answers per item, at most C.

    Raises:
        InputError: `top_k` is not a whole number of at least 1.
        VocabularyError: the number of answers is not the number of scores.
        TensorError: the scores have another shape, are not real numbers, or are infinite or NaN.
    """
    if not is_int_in_range(top_k, 1):
        raise InputError(f"top_k is {top_k!r}; expected a whole number of at least 1")
    values = _to_real_tensor(scores).detach().float().cpu()
    values = values[None] if values.ndim == 1 else values
    if values.ndim != 2:
        raise TensorError(f"scores have shape {tuple(values.shape)}; expected (batch, answers)")
    if values.shape[1] != len(answers):
        raise VocabularyError(
            f"{values.shape[1]} scores per item for {len(answers)} answers; "
            f"these are not the answers that the model was trained with"
        )
    check_finite(values)
    best = values.softmax(dim=1).topk(min(top_k, len(answers)), dim=1)
    return [
        [Answer(answers[label], probability, label) for probability, label in zip(*item, strict=True)]
        for item in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


def check_finite(scores: torch.Tensor) -> None:
    """Raise a TensorError if any score is infinite or NaN."""
    if not scores.isfinite().all():
        kind = "NaN" if scores.isnan().any() else "infinite numbers"
        raise TensorError(
            f"scores contain {kind}; expected finite numbers, check the model's weights and inputs"
        )


def _to_real_tensor(scores: Any) -> torch.Tensor:
    try:
        values = torch.as_tensor(scores)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TensorError(f"scores cannot be read as numbers ({first_line(error)})") from error
    fault = tensor_layout_fault("set of scores", values)
    if fault or values.is_complex():
        raise TensorError(fault or f"scores have dtype {values.dtype}; expected real numbers")
    return values
