"""Changing the answers of a loaded model: rows of the answer head are carried over by answer.

Source: the authors' `loadLXMERTQA` (airsplay/lxmert): everything below the last layer is kept, the rows
of known answers are copied, unknown answers start from zero. (Keeping the first rows, as resizing does, would
pair answers with the scores of others.) Answers match if the normaliser of the pre-training answer table
makes them equal: "two" of a fine-tuning table is "2" of pre-training.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lxmert.answers import ANSWERS_FILE, read_answers
from lxmert.data.answer_targets import answer_lookup
from lxmert.data.answers import AnswerVocabulary
from lxmert.errors import VocabularyError
from lxmert.weights.published import published_answers
from lxmert.weights.report import LoadReport

_HEAD_PREFIX = "answer_head."


def load_model_answers(name: str) -> AnswerVocabulary | None:
    """The answers of a model folder or a published model in class order, None if unknown.

    Raises:
        VocabularyError: The folder's answers are malformed.
        DownloadError: The published table cannot be downloaded, and is not on this machine yet.
    """
    path = Path(name) / ANSWERS_FILE
    if path.is_file():
        return AnswerVocabulary(read_answers(path))
    published = published_answers(name)
    return None if published is None else AnswerVocabulary.load(published.fetch())


def carry_over_answers(model: Any, report: LoadReport, new: AnswerVocabulary) -> int:
    """Replace the answers of a loaded model's head by `new`, unless they are the same.

    Args:
        model: A question answering model.
        report: How it was loaded; a head that the checkpoint did not fill has no answers yet.
        new: Its new answers.

    Returns:
        The number of rows kept.

    Raises:
        VocabularyError: The old answers are malformed, or not as many as the model scores.
        DownloadError: See `load_model_answers`.
    """
    is_head_new = any(name.startswith(_HEAD_PREFIX) for name in report.unfilled)
    old = None if is_head_new else load_model_answers(report.source)
    return len(new) if old == new else set_answers(model, old, new)


def match_answers(old: AnswerVocabulary | None, new: Sequence[str]) -> list[int | None]:
    """For each new answer the class of the matching old one, as spelled or in the table's spelling."""
    find = answer_lookup(old or ())
    return [find(answer) for answer in new]


def set_answers(model: Any, old: AnswerVocabulary | None, new: Sequence[str]) -> int:
    """Replace the answers of the model's head by `new`.

    Args:
        model: A question answering model.
        old: Its current answers; None if unknown, then every row starts from zero.
        new: Its new answers.

    Returns:
        The number of rows carried over.

    Raises:
        VocabularyError: `old` has another size than the head.
    """
    layer = model.get_qa_logit_layer()
    if old is not None and len(old) != layer.weight.shape[0]:
        raise VocabularyError(
            f"the model scores {layer.weight.shape[0]} answers, but its answer list has {len(old)}"
        )
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    sources = match_answers(old, new)
    model.resize_num_qa_labels(len(new))
    layer = model.get_qa_logit_layer()
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        for row, source in enumerate(sources):
            if source is not None:
                layer.weight[row] = weight[source]
                layer.bias[row] = bias[source]
    return sum(source is not None for source in sources)
