"""Objects encoded once: the same answers, what is kept and for how long."""

import gc
from collections.abc import Iterator

import pytest
import torch

from lxmert import LxmertForQuestionAnswering, LxmertPredictor
from lxmert.inference.object_states import ObjectStates
from lxmert.scenes import sample
from lxmert.vision.regions import Regions

WIDTH = 256
QUESTIONS = ["how many stars are there?", "what is red?", "is there a circle?"]


def regions_of(seed: int, objects: int = 4) -> Regions:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(objects, 2, generator=generator) * 40
    boxes = torch.cat([corners, corners + 20], dim=1)
    features = torch.randn(objects, WIDTH, generator=generator)
    return Regions(boxes_xyxy_px=boxes, features=features, size_hw=(64, 64), extractor="test")


@pytest.fixture(scope="module")
def predictor() -> LxmertPredictor:
    return LxmertPredictor.from_pretrained("scenes", device="cpu")


@pytest.fixture
def looks(predictor: LxmertPredictor) -> Iterator[list[int]]:
    """One entry for each time that objects are encoded: how many images."""
    seen: list[int] = []
    layer = predictor.model.lxmert.encoder.visn_fc
    handle = layer.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    yield seen
    handle.remove()


def test_an_image_is_encoded_once_for_all_questions(
    predictor: LxmertPredictor, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lxmert.inference.predictor.QUESTIONS_PER_BATCH", 2)
    picture, _, _ = sample(7, 0, questions=1)
    regions = predictor.regions(picture)
    first = predictor.answer(regions, QUESTIONS)
    again = predictor.answer(regions, QUESTIONS[1:])
    assert looks == [1]
    for [one], [other] in zip(first[1:], again, strict=True):
        assert other.text == one.text
        assert other.probability == pytest.approx(one.probability, abs=1e-5)
    for question, [best] in zip(QUESTIONS, first, strict=True):
        inputs = predictor.processor(text=question, regions=regions)
        with torch.inference_mode():
            scores = predictor.model(**inputs).question_answering_score[0].softmax(dim=0)
        assert best.probability == pytest.approx(float(scores.max()), abs=1e-5)
        assert best.label == int(scores.argmax())


def test_changed_weights_are_noticed(predictor: LxmertPredictor, looks: list[int]) -> None:
    regions = regions_of(1)
    weights = predictor.model.lxmert.encoder.r_layers[0].output.dense.weight
    before = predictor.answer(regions, QUESTIONS)
    with torch.no_grad():
        weights.mul_(-1.0)
    changed = predictor.answer(regions, QUESTIONS)
    with torch.no_grad():
        weights.mul_(-1.0)
    after = predictor.answer(regions, QUESTIONS)
    assert looks == [1, 1, 1]
    told = [[best.probability for [best] in answers] for answers in (before, changed, after)]
    assert told[1] != pytest.approx(told[0], abs=1e-5)
    assert told[2] == pytest.approx(told[0], abs=1e-6)


def test_what_was_used_longest_ago_goes_first(predictor: LxmertPredictor, looks: list[int]) -> None:
    size = 4 * (128 * 4 + 8)  # four objects: a float32 state and an int64 mask each
    states = ObjectStates(predictor.model, most_bytes=2 * size)
    first, second, third = (regions_of(seed) for seed in (1, 2, 3))
    for regions in (first, second, first, third, first, second):
        states.of(regions)
        assert states.kept_bytes in (size, 2 * size)
    # The first stayed, because it had been asked for again; the second made room for the third.
    assert looks == [1, 1, 1, 1]


def test_nothing_is_kept_of_regions_that_are_gone_or_when_told_so(predictor: LxmertPredictor) -> None:
    states = ObjectStates(predictor.model)
    regions = regions_of(1)
    states.of(regions)
    assert states.kept_bytes > 0
    del regions
    gc.collect()
    assert states.kept_bytes == 0
    nothing = ObjectStates(predictor.model, most_bytes=0)
    regions = regions_of(1)
    torch.testing.assert_close(nothing.of(regions), states.of(regions))
    assert nothing.kept_bytes == 0


def test_weights_made_in_inference_mode_will_do(predictor: LxmertPredictor) -> None:
    with torch.inference_mode():
        model = LxmertForQuestionAnswering(predictor.model.config).eval()
        ObjectStates(model).of(regions_of(1))
