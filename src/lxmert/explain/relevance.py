"""Relevance: attention maps of all layers, weighted by their gradients and propagated to the answer.

Chefer, Gur & Wolf 2021 (arXiv 2103.15679), who devised it for LXMERT among others; the numbers of their
equations are given below. Of each map (5) keeps what raises the answer's score: the mean over heads of the
positive part of map times gradient. Four relevances are propagated from layer to layer, of words to words, of
objects to objects, and of each to the other. The result is the row of [CLS], which all answers are read from.

Shapes: W words, O objects, A heads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from lxmert.explain.case import Case, Weights


@dataclass(frozen=True)
class GradientWeightedMaps:
    """The part of each attention map that raises the answer's score, one matrix per layer.

    Attributes:
        words: language layers, (W, W).
        objects: relationship layers, (O, O).
        words_to_objects: cross-modality layers, (W, O), words being the queries.
        objects_to_words: cross-modality layers, (O, W).
        words_to_words: their self-attention, (W, W).
        objects_to_objects: their self-attention, (O, O).
    """

    words: Sequence[Tensor]
    objects: Sequence[Tensor]
    words_to_objects: Sequence[Tensor]
    objects_to_words: Sequence[Tensor]
    words_to_words: Sequence[Tensor]
    objects_to_objects: Sequence[Tensor]


def relevance(case: Case) -> Weights:
    """Relevance of words and objects to the answer; no unit, 0 or more, comparable within one answer."""
    forward = case.forward()
    output = forward.output
    groups = (
        output.language_attentions,
        output.vision_attentions,
        output.cross_encoder_attentions,
        output.vision_to_language_attentions,
        output.cross_language_self_attentions,
        output.cross_vision_self_attentions,
    )
    maps = [weights for group in groups for weights in group]
    # The answer does not depend on the last layer's objects; a model may have no layer at all.
    gradients = torch.autograd.grad(forward.score, maps, materialize_grads=True) if maps else ()
    weighted_maps = iter(
        [_gradient_weighted(weights, grad) for weights, grad in zip(maps, gradients, strict=True)]
    )
    grouped_maps = (list(islice(weighted_maps, len(group))) for group in groups)
    words, objects = forward.word_vectors.shape[1], forward.features.shape[1]
    return case.weights(*propagate_relevance(GradientWeightedMaps(*grouped_maps), words, objects))


def propagate_relevance(maps: GradientWeightedMaps, words: int, objects: int) -> tuple[Tensor, Tensor]:
    """Propagate relevance through all layers.

    Args:
        maps: of each layer, float32, on the CPU.
        words: W.
        objects: O.

    Returns:
        relevance of words (W,) to the first word, its own set to 0, and of objects (O,) to it.
    """
    # (8): initially each is relevant only to itself. "wo": of objects to words, (W, O).
    ww, oo = (torch.eye(count, dtype=torch.float32, device="cpu") for count in (words, objects))
    wo, ow = ww.new_zeros(words, objects), ww.new_zeros(objects, words)
    for attention in maps.words:
        ww = ww + attention @ ww  # (6)
    for attention in maps.objects:
        oo = oo + attention @ oo
    layers = zip(
        maps.words_to_objects,
        maps.objects_to_words,
        maps.words_to_words,
        maps.objects_to_objects,
        strict=True,
    )
    for words_to_objects, objects_to_words, words_to_words, objects_to_objects in layers:
        normal_words, normal_objects = _normalize_rows(ww), _normalize_rows(oo)
        # (10) and (11), both directions from the states before the layer.
        wo, ow, ww, oo = (
            wo + normal_words.T @ words_to_objects @ normal_objects,
            ow + normal_objects.T @ objects_to_words @ normal_words,
            ww + words_to_objects @ ow,
            oo + objects_to_words @ wo,
        )
        ww, wo = ww + words_to_words @ ww, wo + words_to_words @ wo  # (6), (7)
        oo, ow = oo + objects_to_objects @ oo, ow + objects_to_objects @ ow
    word_relevance = ww[0].clone()
    word_relevance[0] = 0.0
    return word_relevance, wo[0]


def _normalize_rows(relevance: Tensor) -> Tensor:
    """(9): scale each row's relevance without the identity to sum to 1, and add the identity again."""
    identity = torch.eye(len(relevance), dtype=relevance.dtype, device=relevance.device)
    off_identity = relevance - identity
    total = off_identity.sum(dim=1, keepdim=True)
    return (
        torch.where(total > 0, off_identity / total.clamp(min=torch.finfo(total.dtype).tiny), 0.0) + identity
    )


def _gradient_weighted(weights: Tensor, grad: Tensor) -> Tensor:
    """(5): (1, A, Q, K) and its gradient -> (Q, K)."""
    return (weights * grad)[0].detach().float().clamp(min=0).mean(dim=0).cpu()
