"""Removal: each word and each object is left out in turn, and the question is answered again.

The only method here that looks only at answers, without trusting attention or gradients; it misses redundant
words or objects, since each of them can be spared.

Shapes: see `case`.
"""

import torch

from lxmert.explain.case import Case, Weights


def removal(case: Case) -> Weights:
    """Decrease of the answer's probability without a word or an object.

    In -1..1; negative if the answer becomes more certain without it. Words are hidden from the model, the
    others keep their positions; see `Case.probabilities_without`.
    """
    words, objects = len(case.words), case.objects
    variants = torch.eye(words + objects, dtype=torch.bool)
    probabilities = case.probabilities_without(variants[:, :words], variants[:, words:])  # (G + N, C)
    decreases = case.answer.probability - probabilities[:, case.answer.label]
    return Weights(decreases[:words], decreases[words:], full_weight=1.0)
