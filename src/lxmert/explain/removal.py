"""What happens without it: each word and each object is taken away in turn, and the question asked again.

The only method here that looks at answers alone, so that it needs no trust in attention or gradients; what
several words or objects say alike it misses, since each can be spared.

Shapes: see `case`.
"""

import torch

from lxmert.explain.case import Case, Weights


def removal(case: Case) -> Weights:
    """By how much the answer's probability falls without a word or an object.

    In -1..1; negative where the answer grows surer without it. Words are hidden from the model, the others
    keep their places; see `Case.chances_without`.
    """
    words, objects = len(case.words), case.objects
    variants = torch.eye(words + objects, dtype=torch.bool)
    chances = case.chances_without(variants[:, :words], variants[:, words:])  # (G + N, C)
    falls = case.answer.probability - chances[:, case.answer.label]
    return Weights(falls[:words], falls[words:], full=1.0)
