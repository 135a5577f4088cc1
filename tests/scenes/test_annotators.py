"""Simulated annotators: how many dissent, what they say instead, how sure they are."""

import random
from collections import Counter

import pytest

from lxmert.scenes import answer_list
from lxmert.scenes.annotators import annotate


@pytest.mark.parametrize(
    ("truth", "others"), [("0", {"1", "none"}), ("1", {"0", "2", "one"}), ("10", {"9", "11", "ten"})]
)
def test_dissenters_give_neighbouring_number_or_its_word(truth: str, others: set[str]):
    rng = random.Random(0)
    given = {answer["answer"] for _ in range(400) for answer in annotate(truth, rng)}
    assert given == {truth} | others


def test_one_question_in_ten_has_dissenters_who_are_never_sure():
    rng = random.Random(0)
    dissenters = Counter()
    for truth in answer_list():
        for _ in range(200):
            others = 0
            for answer in annotate(truth, rng):
                others += answer["answer"] != truth
                expected = ("yes", "maybe") if answer["answer"] == truth else ("maybe", "no")
                assert answer["answer_confidence"] in expected, (truth, answer)
            dissenters[others] += 1
    assert set(dissenters) == {0, 1, 2, 3}
    # Four standard deviations.
    assert abs(1 - dissenters[0] / dissenters.total() - 0.1) < 4 * (0.09 / dissenters.total()) ** 0.5
