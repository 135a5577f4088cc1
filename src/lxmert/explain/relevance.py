"""Relevance: attention maps of all layers, weighed by their gradients and carried through to the answer.

Chefer, Gur & Wolf 2021 (arXiv 2103.15679), who made it for LXMERT among others; their equations are numbered
below. Of each map (5) keeps what raises the answer's score: the mean over heads of the positive part of map
times gradient. Four relevances are carried from layer to layer, of words to words, objects to objects, and
of each to the other. Read is the row of [CLS], which all answers are made from.

Shapes: W words, O objects, A heads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from lxmert.explain.case import Case, Weights


@dataclass(frozen=True)
class RaisingMaps:
    """Of each attention map what raises the answer's score, one matrix per layer.

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
    made = case.forward()
    output = made.output
    groups = (
        output.language_attentions,
        output.vision_attentions,
        output.cross_encoder_attentions,
        output.vision_to_language_attentions,
        output.cross_language_self_attentions,
        output.cross_vision_self_attentions,
    )
    maps = [weights for group in groups for weights in group]
    # The last layer's objects have no part in the answer; a model may have no layer at all.
    slopes = torch.autograd.grad(made.score, maps, materialize_grads=True) if maps else ()
    raising = iter([_raising(weights, slope) for weights, slope in zip(maps, slopes, strict=True)])
    by_kind = (list(islice(raising, len(group))) for group in groups)
    words, objects = made.word_vectors.shape[1], made.features.shape[1]
    return case.weights(*carried(RaisingMaps(*by_kind), words, objects))


def carried(maps: RaisingMaps, words: int, objects: int) -> tuple[Tensor, Tensor]:
    """Carry relevance through all layers.

    Args:
        maps: of each layer, float32, on the CPU.
        words: W.
        objects: O.

    Returns:
        relevance of words (W,) to the first word, its own left out (0), and of objects (O,) to it.
    """
    # (8): at first each is relevant to itself alone. "wo": of objects to words, (W, O).
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
    for to_objects, to_words, among_words, among_objects in layers:
        mixed_words, mixed_objects = _mixed(ww), _mixed(oo)
        # (10) and (11), both ways from the states before the layer.
        wo, ow, ww, oo = (
            wo + mixed_words.T @ to_objects @ mixed_objects,
            ow + mixed_objects.T @ to_words @ mixed_words,
            ww + to_objects @ ow,
            oo + to_words @ wo,
        )
        ww, wo = ww + among_words @ ww, wo + among_words @ wo  # (6), (7)
        oo, ow = oo + among_objects @ oo, ow + among_objects @ ow
    of_words = ww[0].clone()
    of_words[0] = 0.0
    return of_words, wo[0]


def _mixed(relevance: Tensor) -> Tensor:
    """(9): each row's relevance from layers, scaled to sum to 1, besides that of each to itself."""
    identity = torch.eye(len(relevance), dtype=relevance.dtype, device=relevance.device)
    gained = relevance - identity
    total = gained.sum(dim=1, keepdim=True)
    return torch.where(total > 0, gained / total.clamp(min=torch.finfo(total.dtype).tiny), 0.0) + identity


def _raising(weights: Tensor, slope: Tensor) -> Tensor:
    """(5): (1, A, Q, K) and its gradient -> (Q, K)."""
    return (weights * slope)[0].detach().float().clamp(min=0).mean(dim=0).cpu()
