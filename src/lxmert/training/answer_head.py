"""Giving a loaded model another list of answers: rows of the answer head are carried over by name.

Source: the authors' `loadLXMERTQA` (airsplay/lxmert): everything below the last layer stays, a row
whose answer is known is copied, an unknown answer starts from zero. (Keeping the first rows, as resizing
does, would pair answers with the scores of others.)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lxmert.answers import ANSWERS_FILE, read_answers
from lxmert.data.answers import AnswerVocabulary
from lxmert.errors import VocabularyError


def known_answers(folder: str) -> AnswerVocabulary | None:
    """The answers of a local model folder in class order, None where it has no list."""
    path = Path(folder) / ANSWERS_FILE
    return AnswerVocabulary(read_answers(path)) if path.is_file() else None


def set_answers(model: Any, old: AnswerVocabulary | None, new: Sequence[str]) -> int:
    """Make the model's head score the answers `new`.

    Args:
        model: A question answering model.
        old: What its head scores now; None where that is not known, then every row starts from zero.
        new: What it shall score.

    Returns:
        How many rows were carried over.

    Raises:
        VocabularyError: `old` has another size than the head.
    """
    layer = model.get_qa_logit_layer()
    if old is not None and len(old) != layer.weight.shape[0]:
        raise VocabularyError(
            f"the model scores {layer.weight.shape[0]} answers, its answer list has {len(old)}"
        )
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    sources = [None if old is None else old.label(answer) for answer in new]
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
