"""Relevance propagation, by hand on small matrices and against an independent implementation."""

from typing import Any

import pytest
import torch
from torch import Tensor, tensor

from lxmert.explain.relevance import GradientWeightedMaps, propagate_relevance


def maps(**given: list[Tensor]) -> GradientWeightedMaps:
    kinds = (
        "words",
        "objects",
        "words_to_objects",
        "objects_to_words",
        "words_to_words",
        "objects_to_objects",
    )
    return GradientWeightedMaps(*(given.get(kind, []) for kind in kinds))


def test_relevance_without_layers_is_zero() -> None:
    words, objects = propagate_relevance(maps(), 3, 2)
    assert words.tolist() == [0, 0, 0]
    assert objects.tolist() == [0, 0]


def test_language_layer_adds_map_times_previous_relevance() -> None:
    """By hand: I + A; then (I + A) + A(I + A), first row, its own place left out."""
    layer = tensor([[0.0, 0.5], [0.25, 0.0]])
    assert propagate_relevance(maps(words=[layer]), 2, 1)[0].tolist() == [0.0, 0.5]
    assert propagate_relevance(maps(words=[layer, layer]), 2, 1)[0].tolist() == [0.0, 1.0]


def test_cross_layer_propagates_object_relevance_to_first_word() -> None:
    """By hand.

    The relationship layer makes R_oo = [[1, 0.5], [0, 1]], whose gain is scaled: [[1, 1], [0, 1]]. The first
    word looks at the first object, with 0.5: R_wo = 0.5 [1, 1]. Words look among themselves with 0.5 each
    way: R_wo grows by 0.5 of the other word's row, which is 0.
    """
    words, objects = propagate_relevance(
        maps(
            objects=[tensor([[0.0, 0.5], [0.0, 0.0]])],
            words_to_objects=[tensor([[0.5, 0.0], [0.0, 0.0]])],
            objects_to_words=[torch.zeros(2, 2)],
            words_to_words=[tensor([[0.0, 0.5], [0.5, 0.0]])],
            objects_to_objects=[torch.zeros(2, 2)],
        ),
        2,
        2,
    )
    assert objects.tolist() == [0.5, 0.5]
    assert words.tolist() == [0.0, 0.5]


def test_both_directions_of_cross_layer_use_relevance_before_it() -> None:
    """By hand: two layers that look both ways with 1 between one word and one object.

    Layer 1: R_wo = R_ow = 1, R_ww = R_oo = 1 (nothing was shared before). Layer 2: R_ww = 1 + R_ow = 2, and
    R_wo = 1 + 1, since scaled R_ww and R_oo are still 1.
    """
    one = torch.ones(1, 1)
    zero = torch.zeros(2, 2)
    to_objects = tensor([[1.0], [0.0]])
    words, objects = propagate_relevance(
        maps(
            words_to_objects=[to_objects] * 2,
            objects_to_words=[to_objects.T] * 2,
            words_to_words=[zero, tensor([[0.0, 1.0], [0.0, 0.0]])],
            objects_to_objects=[0 * one] * 2,
        ),
        2,
        1,
    )
    assert objects.tolist() == [2.0]
    assert words.tolist() == [0.0, 1.0]


def propagate_by_definition(maps: GradientWeightedMaps, words: int, objects: int) -> tuple[Tensor, Tensor]:
    """The equations once more, entry by entry, on one square matrix of all words and objects.

    Each layer is a list of (queries, keys, map); relevance R[i][j] of j to i.
    """
    count = words + objects
    relevance = [[float(i == j) for j in range(count)] for i in range(count)]
    is_word = [place < words for place in range(count)]

    def scaled(i: int, j: int, old: list[list[float]]) -> float:
        same = [k for k in range(count) if is_word[k] == is_word[i]]
        total = sum(old[i][k] - float(i == k) for k in same)
        return (old[i][j] - float(i == j)) / total + float(i == j) if total > 0 else float(i == j)

    def within(attention: Tensor, first: int) -> None:
        old = [list(row) for row in relevance]
        for i in range(len(attention)):
            for j in range(count):
                relevance[first + i][j] += sum(
                    float(attention[i, k]) * old[first + k][j] for k in range(len(attention))
                )

    def across(to_objects: Tensor, to_words: Tensor) -> None:
        old = [list(row) for row in relevance]

        def looks(i: int, j: int) -> float:
            return float(to_objects[i, j - words] if is_word[i] else to_words[i - words, j])

        for i in range(count):
            own = [k for k in range(count) if is_word[k] == is_word[i]]
            other = [k for k in range(count) if is_word[k] != is_word[i]]
            for j in range(count):
                if is_word[j] == is_word[i]:
                    relevance[i][j] += sum(looks(i, k) * old[k][j] for k in other)
                else:
                    relevance[i][j] += sum(
                        scaled(k, i, old) * looks(k, m) * scaled(m, j, old) for k in own for m in other
                    )

    for attention in maps.words:
        within(attention, 0)
    for attention in maps.objects:
        within(attention, words)
    layers = (maps.words_to_objects, maps.objects_to_words, maps.words_to_words, maps.objects_to_objects)
    for to_objects, to_words, among_words, among_objects in zip(*layers, strict=True):
        across(to_objects, to_words)
        within(among_words, 0)
        within(among_objects, words)
    first = tensor(relevance[0])
    first[0] = 0.0
    return first[:words], first[words:]


@pytest.mark.parametrize(("words", "objects", "layers"), [(3, 2, 1), (2, 4, 3), (5, 3, 2)])
def test_propagation_equals_equations_entry_by_entry(words: int, objects: int, layers: int) -> None:
    torch.manual_seed(words)

    def random_maps(*shape: int) -> list[Tensor]:
        return [torch.rand(*shape) * (torch.rand(*shape) > 0.3) for _ in range(layers)]

    given: Any = GradientWeightedMaps(
        random_maps(words, words),
        random_maps(objects, objects),
        random_maps(words, objects),
        random_maps(objects, words),
        random_maps(words, words),
        random_maps(objects, objects),
    )
    found, expected = (
        propagate_relevance(given, words, objects),
        propagate_by_definition(given, words, objects),
    )
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_default_dtype_and_device_of_torch_do_not_change_relevance() -> None:
    given = maps(
        words=[tensor([[0.0, 0.5], [0.25, 0.0]])],
        words_to_objects=[tensor([[0.5], [0.0]])],
        objects_to_words=[torch.zeros(1, 2)],
        words_to_words=[torch.zeros(2, 2)],
        objects_to_objects=[torch.zeros(1, 1)],
    )
    expected = propagate_relevance(given, 2, 1)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            found = propagate_relevance(given, 2, 1)
    finally:
        torch.set_default_dtype(torch.float32)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)
