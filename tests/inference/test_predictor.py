"""The predictor: what belongs together, one question or many, answers as the model alone gives them."""

import pytest
import torch

from lxmert import LxmertForQuestionAnswering, LxmertPredictor, LxmertProcessor
from lxmert.errors import InputError
from lxmert.inference.models import embedded_model_folder
from lxmert.scenes import sample
from lxmert.vision import GivenBoxes, PooledPixels


@pytest.fixture(scope="module")
def predictor() -> LxmertPredictor:
    return LxmertPredictor.from_pretrained("scenes", device="cpu")


def test_answers_are_those_of_model_and_processor(predictor: LxmertPredictor) -> None:
    picture, scene, questions = sample(11, 0, questions=5)
    texts = [question.text for question in questions]
    answers = predictor.answer(predictor.regions(picture, scene.boxes_xyxy_px()), texts, top_k=2)
    for text, (best, second) in zip(texts, answers, strict=True):
        inputs = predictor.processor(images=picture, text=text, boxes=scene.boxes_xyxy_px())
        with torch.inference_mode():
            scores = predictor.model(**inputs).question_answering_score[0].softmax(dim=0)
        assert best.label == int(scores.argmax())
        assert best.probability == pytest.approx(float(scores.max()), abs=1e-5)
        assert best.probability >= second.probability


def test_no_question_has_no_answer(predictor: LxmertPredictor) -> None:
    picture, scene, _ = sample(11, 0, questions=1)
    assert predictor.answer(predictor.regions(picture, scene.boxes_xyxy_px()), []) == []


def test_one_text_instead_of_a_list_is_told(predictor: LxmertPredictor) -> None:
    picture, scene, _ = sample(11, 0, questions=1)
    with pytest.raises(InputError, match="list"):
        predictor.answer(predictor.regions(picture, scene.boxes_xyxy_px()), "how many stars are there?")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"extractor": GivenBoxes(PooledPixels(3))}, "300 features per object read, 27 made"),
        ({"answers": ["yes", "no"]}, "2 in the table"),
        ({"max_text_length": 99}, "of 99 made"),
    ],
)
def test_what_does_not_belong_together_is_refused(changes: dict[str, object], told: str) -> None:
    folder = embedded_model_folder()
    model = LxmertForQuestionAnswering.from_pretrained(folder, dtype=torch.float32)
    with pytest.raises(InputError, match=told):
        LxmertPredictor(model, LxmertProcessor.from_pretrained(folder, **changes))
