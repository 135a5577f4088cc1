from dataclasses import replace

import pytest
import torch
from PIL import Image

from lxmert import LxmertConfig, LxmertForQuestionAnswering, LxmertPredictor, LxmertProcessor
from lxmert.errors import ImageError, InputError, TextError, VocabularyError
from lxmert.explain import explain
from lxmert.scenes import sample
from lxmert.vision.encoders import PooledPixels
from lxmert.vision.given_boxes import GivenBoxes
from lxmert.web.asking import Picture, PictureAnswerer

SEED = 6


@pytest.fixture(scope="module")
def predictor() -> LxmertPredictor:
    return LxmertPredictor.from_pretrained("scenes")


@pytest.fixture(scope="module")
def answerer(predictor: LxmertPredictor) -> PictureAnswerer:
    return PictureAnswerer(predictor, knows_scenes=True)


def test_generated_picture_comes_with_its_questions_and_their_true_answers(answerer: PictureAnswerer) -> None:
    image, scene, questions = sample(SEED, 0, questions=6)
    picture = answerer.generate(SEED)
    assert picture.detection.image.tobytes() == image.tobytes()
    assert picture.true_answers == {question.text: question.answer for question in questions}
    assert len(picture.detection.objects) == len(scene.objects)


def test_reply_is_that_of_predictor_and_explain(
    answerer: PictureAnswerer, predictor: LxmertPredictor
) -> None:
    image, _, questions = sample(SEED, 0, questions=6)
    picture = answerer.generate(SEED)
    question = questions[0].text
    regions = predictor.regions(image)
    reply = answerer.ask(picture, question, method="gradient")
    [expected] = predictor.answer(regions, [question], top_k=5)
    assert [answer.text for answer in reply.answers] == [answer.text for answer in expected]
    explanation = explain(predictor, regions, question, method="gradient")
    drawn = explanation.draw(image, predictor.names().describe(regions))
    assert reply.drawing.tobytes() == drawn.tobytes()
    second = expected[1].text
    other = explain(predictor, regions, question, method="gradient", answer=second)
    chosen = answerer.ask(picture, question, method="gradient", answer=second)
    assert chosen.drawing.tobytes() == other.draw(image, predictor.names().describe(regions)).tobytes()
    assert chosen.drawing.tobytes() != reply.drawing.tobytes()


def test_notes_compare_with_the_true_answer(answerer: PictureAnswerer) -> None:
    picture = answerer.generate(SEED)
    for question, truth in picture.true_answers.items():
        reply = answerer.ask(picture, question)
        assert reply.notes == (f"True answer: {truth} {'✓' if reply.answers[0].text == truth else '✗'}",)


def test_notes_name_unknown_words_and_missing_objects(answerer: PictureAnswerer) -> None:
    found = answerer.look(Image.new("RGB", (90, 70))).detection
    picture = Picture(replace(found, regions=found.regions.select(torch.arange(0)), objects=()))
    assert answerer.ask(picture, "Is there a giraffe?").notes == (
        "No objects found: the answer is based on the question alone.",
        "Not in the model's vocabulary: 'giraffe'. The answer is a guess.",
    )


def test_notes_tell_what_was_read_of_a_long_question(answerer: PictureAnswerer) -> None:
    [note] = answerer.ask(
        answerer.generate(SEED), "Is there a star?" + " or a star" * 9 + " or a zebra"
    ).notes
    assert note.startswith("The question is too long; the model read 'Is there a star? or a star")


def test_bad_pictures_and_questions_are_refused(answerer: PictureAnswerer) -> None:
    with pytest.raises(ImageError):
        answerer.look(b"no picture")
    with pytest.raises(TextError):
        answerer.ask(answerer.generate(SEED), " ")


def test_models_that_cannot_be_asked_about_pictures_are_refused(predictor: LxmertPredictor) -> None:
    parts = {"tokenizer": predictor.processor.tokenizer, "answers": ["yes", "no"]}
    config = LxmertConfig(
        vocab_size=len(predictor.processor.tokenizer),
        hidden_size=8,
        num_attention_heads=1,
        intermediate_size=8,
        l_layers=1,
        x_layers=1,
        r_layers=1,
        num_qa_labels=2,
        visual_feat_dim=48,
    )
    model = LxmertForQuestionAnswering(config)
    boxes = GivenBoxes(PooledPixels(4))
    for error, message, processor in (
        (InputError, "finds no objects", LxmertProcessor(**parts)),
        (InputError, "needs boxes", LxmertProcessor(**parts, extractor=boxes)),
        (VocabularyError, "no answers", LxmertProcessor(**{**parts, "answers": None}, extractor=boxes)),
    ):
        with pytest.raises(error, match=message):
            PictureAnswerer(LxmertPredictor(model, processor), knows_scenes=False)
