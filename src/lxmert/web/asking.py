"""What the page does, without the page: find the objects of a picture, answer, explain."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from PIL import Image

from lxmert.answers import Answer
from lxmert.errors import InputError
from lxmert.explain import explain
from lxmert.inference.object_detection import DetectionResult, detect_objects
from lxmert.inference.predictor import LxmertPredictor
from lxmert.scenes import sample
from lxmert.texts import read_part, unknown_words
from lxmert.vision.images import ImageSource

_SUGGESTED_QUESTIONS = 6
_TOP_ANSWERS = 5


@dataclass(frozen=True)
class Picture:
    """A picture with its objects.

    Attributes:
        detection: the picture and the objects found in it.
        true_answers: questions with their true answers, if the picture was generated.
    """

    detection: DetectionResult
    true_answers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Reply:
    """The answer to a question.

    Attributes:
        answers: the most probable answers, best first.
        drawing: the explanation of one answer.
        notes: what the reader should know: words that were not read or not known, the true answer.
    """

    answers: tuple[Answer, ...]
    drawing: Image.Image
    notes: tuple[str, ...]


class PictureAnswerer:
    """Answers and explains questions about pictures; may be shared by threads.

    Args:
        predictor: the model, with an extractor that needs no boxes.
        knows_scenes: whether the model was trained on generated pictures.

    Raises:
        InputError: the model has no extractor, or one that needs boxes.
        VocabularyError: the processor has no answers.
    """

    def __init__(self, predictor: LxmertPredictor, *, knows_scenes: bool) -> None:
        predictor.processor.require_answers()
        extractor = predictor.processor.extractor
        if extractor is None:
            raise InputError("the model finds no objects in pictures: name a detector with --detector")
        if extractor.needs_boxes:
            raise InputError(
                "the model's extractor needs boxes, which cannot be given on a page: name a detector with "
                "--detector"
            )
        self._predictor, self._extractor = predictor, extractor
        self.knows_scenes = knows_scenes

    def look(self, image: ImageSource) -> Picture:
        """Find the objects of a picture.

        Raises:
            ImageError: the image cannot be read.
        """
        return Picture(self._detect(image))

    def generate(self, seed: int) -> Picture:
        """Draw a new picture of the synthetic world, with questions about it."""
        image, _, questions = sample(seed, 0, questions=_SUGGESTED_QUESTIONS)
        return Picture(self._detect(image), {question.text: question.answer for question in questions})

    def ask(
        self, picture: Picture, question: str, *, method: str = "relevance", answer: str | None = None
    ) -> Reply:
        """Answer a question and explain the answer.

        Args:
            picture: what `look` or `generate` returned.
            question: one question.
            method: one of `lxmert.explain.METHODS`.
            answer: the answer to explain instead of the best one.

        Raises:
            TextError: a question that is empty, or has no word that the model knows.
        """
        predictor, regions = self._predictor, picture.detection.regions
        table_size = len(predictor.processor.require_answers())
        (answers,) = predictor.answer(regions, [question], top_k=min(_TOP_ANSWERS, table_size))
        explanation = explain(predictor, regions, question, answer=answer, method=method)
        return Reply(
            tuple(answers),
            explanation.draw(picture.detection.image, predictor.names().labels(regions)),
            tuple(self._notes(picture, question, answers[0])),
        )

    def _detect(self, image: ImageSource) -> DetectionResult:
        return detect_objects(image, self._extractor)

    def _notes(self, picture: Picture, question: str, best: Answer) -> list[str]:
        notes = []
        if not picture.detection.objects:
            notes.append("No objects found: the answer is based on the question alone.")
        processor = self._predictor.processor
        part = read_part(processor.tokenizer, question, processor.max_text_length)
        if part is not None:
            notes.append(f"The question is too long; the model read {part!r}.")
        if unknown := unknown_words(processor.tokenizer, question if part is None else part):
            words = ", ".join(map(repr, unknown))
            notes.append(f"Not in the model's vocabulary: {words}. The answer is a guess.")
        if (truth := picture.true_answers.get(question)) is not None:
            notes.append(f"True answer: {truth} {'✓' if best.text == truth else '✗'}")
        return notes
