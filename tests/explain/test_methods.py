"""Explanations of a trained model: each method gives what its definition says, for any question and image."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from PIL import Image

from lxmert import (
    LxmertConfig,
    LxmertForQuestionAnswering,
    LxmertPredictor,
    LxmertProcessor,
    LxmertTokenizerFast,
    Regions,
)
from lxmert.errors import ConfigurationError, InputError, RegionsError, TensorError, TextError
from lxmert.explain import METHODS, Explanation, explain
from lxmert.explain.case import Case
from lxmert.explain.relevance import GradientWeightedMaps, propagate_relevance, relevance
from lxmert.inference.int8 import quantize
from lxmert.inference.models import embedded_model_folder
from lxmert.scenes import sample
from lxmert.texts import unknown_words

QUESTION = "What color is the largest purply item?"


@pytest.fixture(scope="module")
def predictor() -> LxmertPredictor:
    return LxmertPredictor.from_pretrained("scenes", device="cpu")


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return sample(11, 0, questions=1)[0]


@pytest.fixture(scope="module")
def regions(predictor: LxmertPredictor, picture: Image.Image) -> Regions:
    found = predictor.regions(picture)
    assert len(found) >= 3
    return found


def regions_without_objects(predictor: LxmertPredictor) -> Regions:
    return Regions(
        torch.zeros(0, 4), torch.zeros(0, predictor.model.config.visual_feat_dim), (60, 91), "none"
    )


def predictor_like(predictor: LxmertPredictor, **settings: Any) -> LxmertPredictor:
    """With random weights and these settings of its configuration."""
    config = LxmertConfig(**{**predictor.model.config.to_dict(), **settings})
    return LxmertPredictor(LxmertForQuestionAnswering(config), predictor.processor)


@pytest.fixture
def model_unchanged(predictor: LxmertPredictor) -> Iterator[None]:
    """Weights and their settings are as before."""
    before = {name: weight.clone() for name, weight in predictor.model.named_parameters()}
    yield
    for name, weight in predictor.model.named_parameters():
        assert torch.equal(weight, before[name])
        assert weight.grad is None
        assert weight.requires_grad


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("model_unchanged")
def test_every_method_weighs_each_word_and_object(
    predictor: LxmertPredictor, regions: Regions, method: str
) -> None:
    explanation = explain(predictor, regions, QUESTION, method=method)
    assert explanation.words[:5] == ("what", "color", "is", "the", "largest")
    assert explanation.words[-2:] == ("item", "?")
    assert len(explanation.word_weights) == len(explanation.words)
    assert len(explanation.object_weights) == len(regions)
    assert any(explanation.object_weights)
    assert explanation.full_weight == (1.0 if method == "removal" else None)
    [[best]] = predictor.answer(regions, [QUESTION])
    assert explanation.answer.text == best.text
    assert explanation.answer.probability == pytest.approx(best.probability, abs=1e-5)
    ranked = [explanation.object_weights[row] for row in explanation.ranked_objects()]
    assert ranked == sorted(explanation.object_weights, reverse=True)


def test_relevance_propagates_positive_gradient_weighted_maps(
    predictor: LxmertPredictor, regions: Regions
) -> None:
    case = Case(predictor, regions, QUESTION)
    made = case.forward()

    def positive_products(layers: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        slopes = torch.autograd.grad(made.score, layers, retain_graph=True, materialize_grads=True)
        products = [weights[0] * slope[0] for weights, slope in zip(layers, slopes, strict=True)]
        return [torch.where(heads > 0, heads, 0.0).sum(dim=0) / len(heads) for heads in products]

    output = made.output
    words, objects = propagate_relevance(
        GradientWeightedMaps(
            words=positive_products(output.language_attentions),
            objects=positive_products(output.vision_attentions),
            words_to_objects=positive_products(output.cross_encoder_attentions),
            objects_to_words=positive_products(output.vision_to_language_attentions),
            words_to_words=positive_products(output.cross_language_self_attentions),
            objects_to_objects=positive_products(output.cross_vision_self_attentions),
        ),
        made.word_vectors.shape[1],
        made.features.shape[1],
    )
    found, expected = relevance(case), case.weights(words, objects)
    torch.testing.assert_close(found.words, expected.words)
    torch.testing.assert_close(found.objects, expected.objects)


@pytest.mark.parametrize(
    ("method", "deviation_max"),
    # Gradients are small sums of large terms.
    [("relevance", 0.05), ("removal", 0.1), ("gradient", 0.8), ("attention", 0.05)],
)
def test_explanations_in_bfloat16_are_close_to_float32(
    predictor: LxmertPredictor, method: str, deviation_max: float
) -> None:
    model = copy.deepcopy(predictor.model).to(torch.bfloat16)
    rounded = LxmertPredictor(model, predictor.processor)
    deviations, weights = [], []
    for seed in range(8):
        image, _, questions = sample(seed, 0, questions=3)
        regions = predictor.regions(image)
        for question in questions:
            found = explain(rounded, regions, question.text, method=method)
            exact = explain(predictor, regions, question.text, method=method)
            if found.answer.text == exact.answer.text:
                deviations += [
                    abs(one - other)
                    for one, other in zip(found.object_weights, exact.object_weights, strict=True)
                ]
                weights += map(abs, exact.object_weights)
    assert 0 < sum(deviations) < deviation_max * sum(weights)
    assert len(weights) > 60


def test_word_weight_is_sum_over_its_word_pieces(predictor: LxmertPredictor, regions: Regions) -> None:
    case = Case(predictor, regions, "Is it purplexyz?")
    pieces = predictor.processor.tokenizer.tokenize("Is it purplexyz?")
    assert "".join(word.text for word in case.words) == "".join(pieces).replace("##", "")
    assert sorted(place for word in case.words for place in word.positions) == list(range(1, len(pieces) + 1))
    weights = case.weights(torch.arange(len(pieces) + 2.0), torch.zeros(len(regions)))
    assert weights.words.tolist() == [float(sum(word.positions)) for word in case.words]


def test_word_pieces_with_other_prefix_are_joined(predictor: LxmertPredictor, regions: Regions) -> None:
    folder = embedded_model_folder()
    words = (folder / "vocab.txt").read_text().replace("\n##", "\n@@").splitlines()
    tokenizer = LxmertTokenizerFast(
        vocab={word: number for number, word in enumerate(words)}, wordpieces_prefix="@@"
    )
    processor = LxmertProcessor(tokenizer, answers=predictor.processor.answers)
    other = LxmertPredictor(predictor.model, processor)
    expected = [word.text for word in Case(predictor, regions, "Is it purplexyz?").words]
    assert [word.text for word in Case(other, regions, "Is it purplexyz?").words] == expected
    asked = "Is it purple, qwx?"
    assert unknown_words(tokenizer, asked) == unknown_words(predictor.processor.tokenizer, asked) != []


def test_removal_weight_is_probability_drop_without_object(
    predictor: LxmertPredictor, regions: Regions
) -> None:
    explanation = explain(predictor, regions, QUESTION, method="removal")
    for row, weight in enumerate(explanation.object_weights):
        others = regions.select(torch.tensor([other for other in range(len(regions)) if other != row]))
        [answers] = predictor.answer(others, [QUESTION], top_k=len(predictor.processor.require_answers()))
        left = next(one for one in answers if one.text == explanation.answer.text)
        assert weight == pytest.approx(explanation.answer.probability - left.probability, abs=1e-5)


def test_removal_of_only_object_equals_image_without_objects(
    predictor: LxmertPredictor, regions: Regions
) -> None:
    alone = regions.select(torch.tensor([1]))
    explanation = explain(predictor, alone, QUESTION, method="removal")
    [answers] = predictor.answer(
        regions_without_objects(predictor), [QUESTION], top_k=len(predictor.processor.require_answers())
    )
    left = next(one for one in answers if one.text == explanation.answer.text)
    assert explanation.object_weights[0] == pytest.approx(
        explanation.answer.probability - left.probability, abs=1e-5
    )


def test_removal_of_word_masks_all_its_pieces(predictor: LxmertPredictor, regions: Regions) -> None:
    question = "Is it purplexyz?"
    explanation = explain(predictor, regions, question, method="removal")
    case = Case(predictor, regions, question)
    inputs = predictor.processor(text=[question], regions=[regions])
    for word, weight in zip(case.words, explanation.word_weights, strict=True):
        mask = inputs["attention_mask"].clone()
        mask[0, list(word.positions)] = 0
        with torch.no_grad():
            scores = predictor.model(**{**inputs, "attention_mask": mask}).question_answering_score[0]
        chance = float(scores.softmax(dim=0)[explanation.answer.label])
        assert weight == pytest.approx(explanation.answer.probability - chance, abs=1e-5)


def test_attention_weights_are_those_of_first_token_in_last_cross_layer(
    predictor: LxmertPredictor, regions: Regions
) -> None:
    explanation = explain(predictor, regions, QUESTION, method="attention")
    inputs = predictor.processor(text=[QUESTION], regions=[regions])
    with torch.no_grad():
        maps = predictor.model(**inputs, output_attentions=True).cross_encoder_attentions
    expected = maps[-1][0].mean(dim=0)[0]
    assert list(explanation.object_weights) == pytest.approx(expected.tolist(), abs=1e-6)
    assert sum(explanation.object_weights) == pytest.approx(1.0, abs=1e-5)


def test_gradient_weight_equals_finite_difference_along_features(
    predictor: LxmertPredictor, regions: Regions
) -> None:
    """By finite differences of the model in float64: how the score moves as one object's features grow."""
    explanation = explain(predictor, regions, QUESTION, method="gradient")
    inputs = dict(predictor.processor(text=[QUESTION], regions=[regions]))
    precise = _in_float64(predictor.model)
    for row in range(len(regions)):
        scores = []
        for step in (-1e-5, 1e-5):
            features = inputs["visual_feats"].double()
            features[0, row] *= 1 + step
            given = {**inputs, "visual_feats": features, "visual_pos": inputs["visual_pos"].double()}
            with torch.no_grad():
                scores.append(float(precise(**given).question_answering_score[0, explanation.answer.label]))
        slope = (scores[1] - scores[0]) / 2e-5
        assert explanation.object_weights[row] == pytest.approx(slope, rel=1e-3, abs=1e-5)


def _in_float64(model: LxmertForQuestionAnswering) -> LxmertForQuestionAnswering:
    clone = LxmertForQuestionAnswering(model.config)
    clone.load_state_dict(model.state_dict())
    return clone.double().eval()


@pytest.mark.parametrize("method", METHODS)
def test_frozen_model_in_inference_mode_gives_same_explanation(regions: Regions, method: str) -> None:
    predictor = LxmertPredictor.from_pretrained("scenes", device="cpu")
    expected = explain(predictor, regions, QUESTION, method=method)
    predictor.model.requires_grad_(False)
    with torch.inference_mode():
        found = explain(predictor, predictor.regions(sample(11, 0, questions=1)[0]), QUESTION, method=method)
    assert list(found.object_weights) == pytest.approx(list(expected.object_weights), abs=1e-6)
    assert list(found.word_weights) == pytest.approx(list(expected.word_weights), abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_image_without_objects_gives_word_weights_only(
    predictor: LxmertPredictor, picture: Image.Image, method: str
) -> None:
    explanation = explain(predictor, regions_without_objects(predictor), QUESTION, method=method)
    assert explanation.object_weights == ()
    assert explanation.ranked_objects() == []
    assert any(explanation.word_weights)
    explanation.draw(Image.new("RGB", (91, 60)))


def test_picture_of_another_size_is_not_drawn(
    predictor: LxmertPredictor, picture: Image.Image, regions: Regions
) -> None:
    """Its light would fall beside the objects."""
    explanation = explain(predictor, regions, QUESTION)
    width, height = picture.size
    found = f"is {2 * width} x {2 * height} pixels, but the objects are those of one of {width} x {height}; "
    with pytest.raises(RegionsError, match=found):
        explanation.draw(picture.resize((2 * width, 2 * height)))


def test_answer_argument_explains_another_answer(predictor: LxmertPredictor, regions: Regions) -> None:
    own = explain(predictor, regions, QUESTION, method="gradient")
    other = "red" if own.answer.text != "red" else "blue"
    explanation = explain(predictor, regions, QUESTION, method="gradient", answer=other)
    assert explanation.answer.text == other
    assert explanation.answer.probability < own.answer.probability
    assert explanation.word_weights != own.word_weights


def test_shares_are_relative_to_full_weight_or_largest_weight(
    regions: Regions, predictor: LxmertPredictor
) -> None:
    answer = explain(predictor, regions, QUESTION).answer
    three = regions.select(torch.arange(3))
    known = Explanation("q", answer, "m", ("a", "b"), (0.25, -0.5), (0.1, 0.2, 0.0), three, full_weight=1.0)
    assert known.word_shares() == [0.25, -0.5]
    assert known.object_shares() == [0.1, 0.2, 0.0]
    unknown = Explanation("q", answer, "m", ("a", "b"), (1.0, -4.0), (0.0, 0.0, 0.0), three)
    assert unknown.word_shares() == [0.25, -1.0]
    assert unknown.object_shares() == [0.0, 0.0, 0.0]


def test_bfloat16_predictor_ranks_same_object_first(regions: Regions) -> None:
    expected = explain(LxmertPredictor.from_pretrained("scenes", device="cpu"), regions, QUESTION)
    rounded = LxmertPredictor.from_pretrained("scenes", device="cpu", dtype="bfloat16")
    found = explain(rounded, regions, QUESTION)
    assert found.ranked_objects()[0] == expected.ranked_objects()[0]


def test_invalid_arguments_of_explain_are_rejected(predictor: LxmertPredictor, regions: Regions) -> None:
    with pytest.raises(
        InputError, match=r"method is 'magic', expected relevance, removal, gradient, attention"
    ):
        explain(predictor, regions, QUESTION, method="magic")
    with pytest.raises(InputError, match=r"'chartreuse' is not one of the \d+ answers"):
        explain(predictor, regions, QUESTION, answer="chartreuse")
    with pytest.raises(InputError, match=r"predictor is a LxmertForQuestionAnswering, expected LxmertPred"):
        explain(predictor.model, regions, QUESTION)  # type: ignore[arg-type]
    with pytest.raises(TextError, match="is empty"):
        explain(predictor, regions, " ")


def test_model_in_8_bits_is_rejected(regions: Regions) -> None:
    predictor = LxmertPredictor.from_pretrained("scenes", device="cpu")
    quantize(predictor.model, torch.float32)
    with pytest.raises(ConfigurationError, match="8 bits"):
        explain(predictor, regions, QUESTION)


def test_attention_method_requires_cross_modality_layer(predictor: LxmertPredictor, regions: Regions) -> None:
    with pytest.raises(ConfigurationError, match="no cross-modality layer"):
        explain(predictor_like(predictor, x_layers=0), regions, QUESTION, method="attention")


@pytest.mark.parametrize("method", ["relevance", "removal", "gradient"])
@pytest.mark.parametrize("layers", [{"x_layers": 0}, {"l_layers": 0, "r_layers": 0, "x_layers": 0}])
def test_object_weights_are_zero_without_cross_modality_layers(
    predictor: LxmertPredictor, regions: Regions, method: str, layers: dict[str, int]
) -> None:
    explanation = explain(predictor_like(predictor, **layers), regions, QUESTION, method=method)
    assert list(explanation.object_weights) == pytest.approx([0.0] * len(regions), abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_models_that_return_tuples_are_explained(
    predictor: LxmertPredictor, regions: Regions, method: str
) -> None:
    assert any(
        explain(predictor_like(predictor, return_dict=False), regions, QUESTION, method=method).word_weights
    )


@pytest.mark.parametrize("method", METHODS)
def test_nan_scores_are_rejected_by_explain_and_answer(
    predictor: LxmertPredictor, regions: Regions, method: str
) -> None:
    broken = predictor_like(predictor)
    with torch.no_grad():
        broken.model.answer_head.logit_fc[0].weight.fill_(float("nan"))
    for asked in (
        lambda: broken.answer(regions, [QUESTION]),
        lambda: explain(broken, regions, QUESTION, method=method),
    ):
        with pytest.raises(TensorError, match="scores contain NaN"):
            asked()
