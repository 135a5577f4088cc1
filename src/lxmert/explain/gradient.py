"""Gradient times input: how much of the answer's score each word vector and each feature vector makes up.

Exact for a linear model, a first guess for others (Shrikumar et al. 2016, arXiv 1605.01713).

Shapes: see `case`.
"""

import torch

from lxmert.explain.case import Case, Weights


def gradient(case: Case) -> Weights:
    """Gradient of the answer's score times the input, summed over the width of a vector.

    In units of the score before the softmax; negative where a word or an object speaks against the answer.
    """
    made = case.forward()
    inputs = (made.word_vectors, made.features)
    # Without cross-modality layers no object has a part in the answer.
    slopes = torch.autograd.grad(made.score, inputs, materialize_grads=True)
    of_words, of_objects = (
        (slope * values)[0].float().sum(dim=-1) for slope, values in zip(slopes, inputs, strict=True)
    )
    return case.weights(of_words, of_objects)
