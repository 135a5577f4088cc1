"""Choosing pairs of pictures for a sentence, so that neither it nor one picture reveals the label.

A sentence comes with four pairs, and is true of two of them. If possible they are crossed: with left
pictures A, B and right pictures C, D it is true of (A, C) and (B, D), false of (A, D) and (B, C). Then each
picture occurs with both labels, and one picture alone allows no better guess than chance.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from lxmert.scenes.object_descriptions import SceneView
from lxmert.scenes.pairs.statements import LEFT, ONE_SIDED, RIGHT, Statement, draw_kind, draw_statement
from lxmert.scenes.questions.generation import WORDS_MAX, split_words

_KINDS: Final = 6
"""Number of kinds of sentences that are tried."""
_MAX_ATTEMPTS: Final = 8
"""Number of sentences of a kind that are tried."""


class Pair(NamedTuple):
    """Indices of two pictures, and whether the sentence is true of them."""

    left: int
    right: int
    label: bool


class Group(NamedTuple):
    """A sentence with its pairs."""

    statement: Statement
    pairs: tuple[Pair, ...]


def choose_group(views: Sequence[SceneView], rng: random.Random) -> Group | None:
    """Choose a sentence about the first picture and others, with as many true as false pairs.

    Args:
        views: The pictures; the first must be used.
        rng: Source of randomness.

    Returns:
        None if there are too few pictures.
    """
    if len(views) < 2:
        return None
    for choose_pairs, kinds in ((_pair_best, _KINDS), (_pair_fixed, _KINDS), (_pair_swapped, 3 * _KINDS)):
        for _ in range(kinds):
            group = _group_of_kind(draw_kind(rng), choose_pairs, views, rng)
            if group is not None:
                return group
    return None


def _group_of_kind(
    kind: str,
    choose_pairs: Callable[["_TruthTable", random.Random], list[Pair]],
    views: Sequence[SceneView],
    rng: random.Random,
) -> Group | None:
    # Some kinds rarely succeed; without more tries of the same kind they would hardly occur.
    for _ in range(_MAX_ATTEMPTS):
        statement = draw_statement(kind, views[0], rng.choice(views[1:]), rng)
        if statement is None or len(split_words(statement.text)) > WORDS_MAX:
            continue
        pairs = choose_pairs(_TruthTable(statement, views), rng)
        if pairs:
            return Group(statement, tuple(rng.sample(pairs, len(pairs))))
    return None


class _TruthTable:
    """The truth of a sentence about each pair."""

    def __init__(self, statement: Statement, views: Sequence[SceneView]) -> None:
        self.statement = statement
        self._values = [[statement.value(view, side) for view in views] for side in (LEFT, RIGHT)]
        self.usable = [
            [number for number, value in enumerate(values) if value is not None] for values in self._values
        ]

    def is_true(self, number: int, other: int, side: int) -> bool:
        """Whether the sentence is true with picture `number` on this side and `other` on the other one."""
        left, right = (number, other) if side == LEFT else (other, number)
        return self.statement.is_true(self._values[LEFT][left], self._values[RIGHT][right])

    def partners(self, number: int, side: int, label: bool) -> list[int]:
        """The pictures with which, on the other side, the sentence has this label."""
        candidates = (other for other in self.usable[1 - side] if other != number)
        return [other for other in candidates if self.is_true(number, other, side) == label]


def _pair(number: int, other: int, side: int, label: bool) -> Pair:
    return Pair(number, other, label) if side == LEFT else Pair(other, number, label)


def _pair_best(truth_table: _TruthTable, rng: random.Random) -> list[Pair]:
    return (_pair_fixed if truth_table.statement.kind in ONE_SIDED else _pair_crossed)(truth_table, rng)


def _pair_crossed(truth_table: _TruthTable, rng: random.Random) -> list[Pair]:
    """Two pictures on one side, two on the other, each with both labels."""
    side = rng.choice((LEFT, RIGHT))
    if 0 not in truth_table.usable[side]:
        return []
    trues, falses = truth_table.partners(0, side, True), truth_table.partners(0, side, False)
    for second in rng.sample(truth_table.usable[side], len(truth_table.usable[side])):
        if second == 0:
            continue
        false_candidates = [
            other for other in falses if other != second and truth_table.is_true(second, other, side)
        ]
        true_candidates = [
            other for other in trues if other != second and not truth_table.is_true(second, other, side)
        ]
        if false_candidates and true_candidates:
            false, true = rng.choice(false_candidates), rng.choice(true_candidates)
            return [
                _pair(0, true, side, True),
                _pair(0, false, side, False),
                _pair(second, true, side, False),
                _pair(second, false, side, True),
            ]
    return []


def _pair_fixed(truth_table: _TruthTable, rng: random.Random) -> list[Pair]:
    """One picture on the left with both labels, and one on the right."""
    side = rng.choice((LEFT, RIGHT))
    if 0 not in truth_table.usable[side]:
        return []
    first = _both_labels(truth_table, 0, side, rng)
    if not first:
        return []
    candidates = [number for number in truth_table.usable[1 - side] if number != 0]
    for number in rng.sample(candidates, len(candidates)):
        second = [pair for pair in _both_labels(truth_table, number, 1 - side, rng) if pair not in first]
        if len(second) == 2:
            return [*first, *second]
    return []


def _both_labels(truth_table: _TruthTable, number: int, side: int, rng: random.Random) -> list[Pair]:
    pairs = []
    for label in (True, False):
        others = truth_table.partners(number, side, label)
        if not others:
            return []
        pairs.append(_pair(number, rng.choice(others), side, label))
    return pairs


def _pair_swapped(truth_table: _TruthTable, _: random.Random) -> list[Pair]:
    """A pair and its mirror image, with left and right exchanged: all that two pictures allow."""
    for other in truth_table.usable[RIGHT][1:]:
        if {0, other} <= {*truth_table.usable[LEFT]} & {*truth_table.usable[RIGHT]}:
            forward, backward = truth_table.is_true(0, other, LEFT), truth_table.is_true(other, 0, LEFT)
            if forward != backward:
                return [Pair(0, other, forward), Pair(other, 0, backward)]
    return []


def count_correct_guesses(pairs: Iterable[Pair], get_known: Callable[[Pair], int | None]) -> int:
    """Count the labels that the best guess gets right, knowing only what `get_known` returns of each pair."""
    labels: dict[int | None, Counter[bool]] = {}
    for pair in pairs:
        labels.setdefault(get_known(pair), Counter())[pair.label] += 1
    return sum(max(counted.values()) for counted in labels.values())
