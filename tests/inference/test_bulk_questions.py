"""`LxmertPredictor.predict`: answers equal those of `answer`, in order, each image extracted once."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lxmert import LxmertPredictor
from lxmert.data.feature_store import FeatureStoreWriter
from lxmert.errors import DataError, ImageError, InputError, RegionsError, TextError, VocabularyError
from lxmert.inference import bulk_questions
from lxmert.inference.bulk_packing import WindowLimits
from lxmert.inference.bulk_questions import Prediction, Question
from lxmert.inference.extraction import build_manifest
from lxmert.scenes import sample
from lxmert.vision import GivenBoxes, PooledPixels

TEXTS = ["what is red?", "how many stars are there?", "is the big circle blue?", "what shape is it?"]


@pytest.fixture
def predictor() -> LxmertPredictor:
    return LxmertPredictor.from_pretrained("scenes", device="cpu")


@pytest.fixture
def extracted_images(predictor: LxmertPredictor, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The images that the extractor was given."""
    recorded: list[Any] = []
    extractor = predictor.processor.extractor
    original_call = type(extractor).__call__

    def recording_call(self: Any, images: Any, *more: Any, **named: Any) -> Any:
        recorded.extend(images)
        return original_call(self, images, *more, **named)

    monkeypatch.setattr(type(extractor), "__call__", recording_call)
    return recorded


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of 5 questions and 2 images."""
    for name in ("EXTRACTION_WINDOW", "WindowLimits"):
        limits = WindowLimits(questions=5, images=2)
        monkeypatch.setattr(bulk_questions, name, limits if name.isupper() else lambda limits=limits: limits)


def save_pictures(folder: Path, count: int = 3) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        sample(11, number, questions=1)[0].save(path)
    return paths


def assert_equal_single_answers(
    predictor: LxmertPredictor, found: list[Prediction], paths: list[Path], asked: list[tuple[int, str]]
) -> None:
    """Predictions equal the answers of one question at a time."""
    regions = [predictor.regions(path) for path in paths]
    assert [one.identifier for one in found] == list(range(len(asked)))
    for (number, text), prediction in zip(asked, found, strict=True):
        [expected] = predictor.answer(regions[number], [text], top_k=3)
        assert [one.label for one in prediction.answers] == [one.label for one in expected]
        for one, other in zip(prediction.answers, expected, strict=True):
            assert one.probability == pytest.approx(other.probability, abs=1e-5)
            assert one.text == other.text
        assert prediction.best == prediction.answers[0]


ASKED = [(number * 7 % 3, TEXTS[number * 5 % 4]) for number in range(17)]


@pytest.mark.usefixtures("small_windows")
def test_predict_keeps_question_order_and_extracts_each_image_once(
    predictor: LxmertPredictor, tmp_path: Path, extracted_images: list[Any]
) -> None:
    paths = save_pictures(tmp_path)
    progress_counts: list[int] = []
    questions = [Question(paths[image], text, number) for number, (image, text) in enumerate(ASKED)]
    found = list(
        predictor.predict(
            questions,
            top_k=3,
            progress=lambda what, total: [progress_counts.append(total), progress_counts.append][1],
        )
    )
    # Also by images that lie windows back: what was encoded is kept.
    assert len(extracted_images) == 3
    assert (progress_counts[0], sum(progress_counts[1:])) == (17, 17)
    assert_equal_single_answers(predictor, found, paths, ASKED)


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("per_image", [5, 6])
@pytest.mark.parametrize("kind", ["pillow", "array", "bytes", "text", "regions"])
def test_predict_accepts_every_kind_of_image(
    predictor: LxmertPredictor, tmp_path: Path, extracted_images: list[Any], kind: str, per_image: int
) -> None:
    paths = save_pictures(tmp_path)
    make = {
        "pillow": Image.open,
        "array": lambda path: np.array(Image.open(path)),
        "bytes": Path.read_bytes,
        "text": str,
        "regions": predictor.regions,
    }[kind]
    kept = [make(path) for path in paths]
    extracted_images.clear()
    asked = [(number // per_image, TEXTS[number % 4]) for number in range(3 * per_image)]
    # Image by image; a window of 5 ends with an image, or in its midst.
    found = list(
        predictor.predict(
            (Question(kept[image], text, number) for number, (image, text) in enumerate(asked)), top_k=3
        )
    )
    assert len(extracted_images) == (0 if kind == "regions" else 3)
    assert_equal_single_answers(predictor, found, paths, asked)


def test_image_keys_differ_for_images_at_reused_memory_address(predictor: LxmertPredictor) -> None:
    images = bulk_questions._QuestionImages(predictor.processor, None)
    keys = set()
    for _ in range(200):  # Sooner or later at the same place in memory.
        question = Question(Image.new("RGB", (4, 3)), "what?")
        key = images.key(question)
        images.begin_window([(key, question)])
        keys.add(key)
        del question
    assert len(keys) == 200


@pytest.mark.usefixtures("small_windows")
def test_images_that_live_for_one_question_are_not_confused(
    predictor: LxmertPredictor, tmp_path: Path
) -> None:
    paths = save_pictures(tmp_path)

    def questions() -> Iterator[Question]:
        for number, (image, text) in enumerate(ASKED):
            yield Question(Image.open(paths[image]).convert("RGB"), text, number)

    assert_equal_single_answers(predictor, list(predictor.predict(questions(), top_k=3)), paths, ASKED)


def test_predict_uses_boxes_of_each_question(predictor: LxmertPredictor, tmp_path: Path) -> None:
    paths = save_pictures(tmp_path, 2)
    boxes = [
        None,
        sample(11, 0, questions=1)[1].boxes_xyxy_px(),
        sample(11, 0, questions=1)[1].boxes_xyxy_px()[:2],
    ]
    questions = [
        Question(path, text, (path.name, n), given)
        for path in paths
        for n, given in enumerate(boxes)
        for text in TEXTS[:2]
    ]
    for question, prediction in zip(questions, predictor.predict(questions), strict=True):
        [[expected]] = predictor.answer(
            predictor.regions(question.image, question.boxes_xyxy_px),  # type: ignore[arg-type]
            [question.text],
        )
        assert prediction.identifier == question.identifier
        assert prediction.best.probability == pytest.approx(expected.probability, abs=1e-5)


@pytest.mark.usefixtures("small_windows")
def test_predict_reads_objects_from_feature_store(
    predictor: LxmertPredictor, tmp_path: Path, extracted_images: list[Any]
) -> None:
    paths = save_pictures(tmp_path)
    extractor = predictor.processor.extractor
    assert extractor is not None
    with FeatureStoreWriter(tmp_path / "store", build_manifest(extractor, "float32")) as writer:
        for path in paths:
            writer.add(path.name, predictor.regions(path))
    extracted_images.clear()
    stored = [tmp_path / "store"]
    questions = [Question(paths[image].stem, text, number) for number, (image, text) in enumerate(ASKED)]
    found = list(predictor.predict(questions, top_k=3, features=stored))
    assert extracted_images == []
    assert_equal_single_answers(predictor, found, paths, ASKED)
    for store in (stored[0], str(stored[0])):
        [alone] = predictor.predict(questions[:1], top_k=3, features=store)
        assert [one.label for one in alone.answers] == [one.label for one in found[0].answers]
    with pytest.raises(DataError, match=r"question 7: the feature store has no image 'x'.*lxmert extract"):
        list(predictor.predict([*questions[:7], Question("x", "what?", 7)], features=stored))
    boxes = sample(11, 0, questions=1)[1].boxes_xyxy_px()
    with pytest.raises(InputError, match=r"question 8 has boxes_xyxy_px, .* a feature store; omit"):
        list(predictor.predict([*questions[:8], Question(paths[0].stem, "what?", 8, boxes)], features=stored))
    with pytest.raises(InputError, match="question 'what\\?' has an image of type PosixPath"):
        list(predictor.predict([Question(paths[0], "what?")], features=stored))
    predictor.processor._extractor = GivenBoxes(PooledPixels(2))
    with pytest.raises(DataError, match="was made by faster-rcnn"):
        predictor.predict(questions, features=stored)


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize(("images", "read_ahead"), [(1, 6), (3, 3)])
def test_predict_yields_answers_before_all_questions_are_read(
    predictor: LxmertPredictor, tmp_path: Path, images: int, read_ahead: int
) -> None:
    """A window ends before the sixth question or the third image, which is taken to find that out."""
    paths = save_pictures(tmp_path, images)
    taken: list[int] = []
    totals: list[int] = []

    def questions() -> Iterator[Question]:
        for number in range(100):
            taken.append(number)
            yield Question(paths[number % images], TEXTS[number % 4], number)

    def progress(what: str, total: int) -> Callable[[int], None]:
        totals.append(total)
        return lambda step: None

    stream = predictor.predict(questions(), progress=progress)
    assert taken == []
    next(stream)
    assert len(taken) == read_ahead
    assert totals == [0], "the number of questions cannot be known"


@pytest.mark.usefixtures("small_windows")
def test_invalid_question_is_named_after_earlier_ones_are_answered(
    predictor: LxmertPredictor, tmp_path: Path
) -> None:
    path, other = save_pictures(tmp_path, 2)
    (tmp_path / "no.png").write_text("no picture")
    good = [Question(path, TEXTS[0], number) for number in range(5)]
    faults: list[tuple[Question, type[InputError], str]] = [
        (Question(other, " ", "q6"), TextError, "question q6: the text is empty"),
        (Question(other, "日本", 6), TextError, "question 6: .*no word"),
        (Question(tmp_path / "no.png", "what is red?", 6), ImageError, "question 6: .*no.png"),
        (
            Question(other, "what?", boxes_xyxy_px=np.array([[5, 5, 4, 4]])),
            RegionsError,
            "question 'what\\?'",
        ),
    ]
    for question, kind, message in faults:
        stream = predictor.predict([*good, Question(other, TEXTS[1]), question])
        assert len([next(stream) for _ in good]) == 5
        with pytest.raises(kind, match=message):
            next(stream)


def test_unreadable_image_is_named_after_one_batch_of_extraction(
    predictor: LxmertPredictor, tmp_path: Path, extracted_images: list[Any]
) -> None:
    paths = [*save_pictures(tmp_path, 20), tmp_path / "missing.png"]
    with pytest.raises(ImageError, match=r"question 20: .*missing\.png: no such image file"):
        list(predictor.predict([Question(path, TEXTS[0], n) for n, path in enumerate(paths)]))
    # Those of the part before, and of its own part none, not even to find whose fault it is.
    assert len(extracted_images) == bulk_questions._IMAGES_PER_EXTRACTION < 20


def test_images_are_extracted_in_batches_of_at_most_16(
    predictor: LxmertPredictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    extractor = predictor.processor.extractor
    original_call = type(extractor).__call__

    def recording_call(self: Any, images: Any, *more: Any, **named: Any) -> Any:
        counts.append(len(images))
        return original_call(self, images, *more, **named)

    monkeypatch.setattr(type(extractor), "__call__", recording_call)
    boxes = sample(11, 0, questions=1)[1].boxes_xyxy_px()[:1]
    questions = [
        Question(path, TEXTS[n % 4], n, boxes if n % 2 else None)
        for n, path in enumerate(save_pictures(tmp_path, 40))
    ]
    found = list(predictor.predict(questions))
    assert counts == [16, 4, 16, 4]
    for number in (0, 1, 36, 39):
        regions = predictor.regions(questions[number].image, questions[number].boxes_xyxy_px)  # type: ignore[arg-type]
        [[expected]] = predictor.answer(regions, [questions[number].text])
        assert found[number].identifier == number
        assert found[number].best.probability == pytest.approx(expected.probability, abs=1e-5)


def test_boxes_are_taken_from_any_tensor_array_or_list(predictor: LxmertPredictor, tmp_path: Path) -> None:
    (path,) = save_pictures(tmp_path, 1)
    boxes = torch.tensor([[2.0, 3.0, 50.0, 60.0]])
    kinds = [boxes, boxes.bfloat16(), boxes.clone().requires_grad_(), boxes.numpy(), boxes.tolist()]
    found = list(predictor.predict([Question(path, TEXTS[0], boxes_xyxy_px=kind) for kind in kinds]))
    assert len({prediction.best for prediction in found}) == 1
    with pytest.raises(RegionsError, match="question 6: boxes cannot be read as numbers"):
        list(predictor.predict([Question(path, "what?", 6, [[1, 2], [3]])]))


def test_boxes_beside_given_regions_are_rejected(predictor: LxmertPredictor) -> None:
    picture, scene, _ = sample(11, 0, questions=1)
    boxes = scene.boxes_xyxy_px()
    question = Question(predictor.regions(picture, boxes), "what?", "q1", boxes)
    with pytest.raises(InputError, match=r"question q1 has boxes_xyxy_px, .* given regions; omit"):
        list(predictor.predict([question]))


def test_predict_rejects_values_that_are_no_questions(predictor: LxmertPredictor, tmp_path: Path) -> None:
    (path,) = save_pictures(tmp_path, 1)
    good = Question(path, TEXTS[0])
    with pytest.raises(InputError, match=r"question 1 is a str, expected a `Question`: Question\(image"):
        list(predictor.predict([good, "what is red?"]))  # type: ignore[list-item]
    for questions in (good, None, 7):
        message = f"questions is a {type(questions).__name__}, expected a list of `Question` objects"
        with pytest.raises(InputError, match=message):
            predictor.predict(questions)  # type: ignore[arg-type]


def test_predict_checks_top_k_and_answers_before_reading_questions(predictor: LxmertPredictor) -> None:
    with pytest.raises(InputError, match="top_k is 0"):
        predictor.predict([], top_k=0)
    assert list(predictor.predict([])) == []
    predictor.processor._answers = None
    with pytest.raises(VocabularyError, match="no answers"):
        predictor.predict([])
