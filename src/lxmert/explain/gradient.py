"""Gradient times input: the contribution of each word vector and each feature vector to the answer's score.

Exact for a linear model, a first approximation for others (Shrikumar et al. 2016, arXiv 1605.01713).

Shapes: see `case`.
"""

import torch

from lxmert.explain.case import Case, Weights


def gradient(case: Case) -> Weights:
    """Gradient of the answer's score times the input, summed over the width of a vector.

    In units of the score before the softmax; negative if a word or an object speaks against the answer.
    """
    forward = case.forward()
    inputs = (forward.word_vectors, forward.features)
    # Without cross-modality layers the answer does not depend on the objects.
    gradients = torch.autograd.grad(forward.score, inputs, materialize_grads=True)
    word_weights, object_weights = (
        (grad * values)[0].float().sum(dim=-1) for grad, values in zip(gradients, inputs, strict=True)
    )
    return case.weights(word_weights, object_weights)
