"""`faithfulness`: accuracy while words or objects are removed, checked by hand with a stub `Case`."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from lxmert import LxmertPredictor
from lxmert.errors import InputError
from lxmert.explain import METHODS
from lxmert.explain import faithfulness as faithfulness_module
from lxmert.explain.case import Case, Weights
from lxmert.explain.faithfulness import AnnotatedQuestion, Faithfulness, faithfulness
from lxmert.scenes import sample


class StubCase:
    """In place of a `Case`: 2 words, 4 objects; the answer is class 1 while word 1 and object 2 are there."""

    words = ("a", "b")
    objects = 4

    def __init__(self, *_: Any) -> None:
        self.asked: list[tuple[Tensor, Tensor]] = []

    def probabilities_without(self, words: Tensor, objects: Tensor) -> Tensor:
        lost = objects[:, 2] | words[:, 1]  # (S,)
        return torch.stack([lost.float(), 1 - lost.float()], dim=1)


def known_weights(_: Any) -> Weights:
    return Weights(torch.tensor([0.0, 1.0]), torch.tensor([0.1, 0.2, 0.9, 0.3]))


PREDICTOR: Any = SimpleNamespace(processor=SimpleNamespace(require_answers=lambda: ["no", "yes"]))
REGIONS: Any = None


def test_most_first_and_least_first_remove_parts_by_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faithfulness_module, "Case", StubCase)
    asked = [AnnotatedQuestion(REGIONS, "?", "yes"), AnnotatedQuestion(REGIONS, "?", "yes")]
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    found = faithfulness(PREDICTOR, asked, known_weights, "objects", shares)
    assert found.most_first == (1, 0, 0, 0, 0)
    assert found.least_first == (1, 1, 1, 1, 0)
    assert found.most_first_area == pytest.approx(0.125)
    assert found.least_first_area == pytest.approx(0.875)
    words = faithfulness(PREDICTOR, asked, known_weights, "words", (0.0, 0.5, 1.0))
    assert (words.most_first, words.least_first) == ((1, 0, 0), (1, 1, 0))


def test_default_shares_equal_those_of_paper_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faithfulness_module, "Case", StubCase)
    found = faithfulness(PREDICTOR, [AnnotatedQuestion(REGIONS, "?", "yes")], known_weights, "objects")
    assert found.shares == (0, 0.25, 0.5, 0.75, 0.8, 0.85, 0.9, 0.95, 1)
    assert found.least_first == (1, 1, 1, 1, 1, 1, 0, 0, 0), "of 4 objects 3 are gone up to 3.5"


def test_accuracy_is_mean_over_questions_of_correct_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faithfulness_module, "Case", StubCase)
    asked = [AnnotatedQuestion(REGIONS, "?", answer) for answer in ("yes", "no", "unheard of", "yes")]
    found = faithfulness(PREDICTOR, asked, known_weights, "objects", (0.0, 0.25, 1.0))
    assert found.most_first == (0.5, 0.25, 0.25)


def test_areas_are_trapezoids_between_uneven_shares() -> None:
    found = Faithfulness((0.0, 0.5, 0.6, 1.0), (1.0, 0.5, 0.5, 0.0), (1.0, 1.0, 1.0, 0.0))
    assert found.most_first_area == pytest.approx(0.375 + 0.05 + 0.1)
    assert found.least_first_area == pytest.approx(0.5 + 0.1 + 0.2)


def test_empty_question_list_is_rejected() -> None:
    with pytest.raises(InputError, match="no question to measure"):
        faithfulness(PREDICTOR, [], known_weights, "objects")


def test_part_that_is_neither_words_nor_objects_is_rejected() -> None:
    part: Any = "word"
    with pytest.raises(InputError, match="part is 'word', expected words, objects"):
        faithfulness(PREDICTOR, [AnnotatedQuestion(REGIONS, "?", "yes")], known_weights, part)


@pytest.mark.parametrize(
    "shares",
    [(), (0.5,), (1.0, 0.5, 0.0), (0.0, 0.5, 0.5), (0.0, 0.5, 50), (-0.5, 1.0), (0.0, float("nan"))],
)
def test_shares_that_are_not_two_or_do_not_rise_within_0_to_1_are_rejected(shares: tuple[float, ...]) -> None:
    with pytest.raises(
        InputError, match=re.escape(f"shares are {shares}, expected two or more in 0..1, each greater")
    ):
        faithfulness(PREDICTOR, [], known_weights, "objects", shares)


def test_method_that_is_no_function_is_rejected() -> None:
    method: Any = "removal"
    with pytest.raises(InputError, match="method is 'removal', expected a function, such as METHODS"):
        faithfulness(PREDICTOR, [], method, "objects")


def test_explanations_of_the_embedded_model_beat_chance() -> None:
    """Of relevance and removal, on 40 questions, against an order by lot; figures stand in the docs."""
    predictor = LxmertPredictor.from_pretrained("scenes", device="cpu")
    asked = []
    for index in range(8):
        picture, _, questions = sample(31, index, questions=5)
        regions = predictor.regions(picture)
        asked += [AnnotatedQuestion(regions, one.text, one.answer) for one in questions]
    generator = torch.Generator().manual_seed(0)

    def random_weights(case: Case) -> Weights:
        return Weights(
            torch.rand(len(case.words), generator=generator), torch.rand(case.objects, generator=generator)
        )

    chance = faithfulness(predictor, asked, random_weights, "objects")
    for method in ("relevance", "removal"):
        found = faithfulness(predictor, asked, METHODS[method], "objects")
        assert found.most_first_area < chance.most_first_area < found.least_first_area
        assert found.most_first[0] == chance.most_first[0]
