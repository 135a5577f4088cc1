"""A stream of questions about any number of images, answered in the caller's order.

Shapes: N boxes of an image, B questions of a batch, C answers.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import count
from operator import length_hint
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lxmert.answers import Answer
from lxmert.data.image_files import check_store_extractor
from lxmert.data.joined_stores import RegionStore
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.region_source import ImageNameIndex
from lxmert.data.stored_regions import StoredRegions
from lxmert.errors import DataError, ImageError, InputError, TextError
from lxmert.inference.bulk import BulkAnswerer, BulkSettings
from lxmert.inference.bulk_packing import TokenizedQuestion, WindowLimits, split_into_windows
from lxmert.inference.bulk_sources import EXTRACTION_WINDOW
from lxmert.inference.fast_model import FastModel
from lxmert.processing import LxmertProcessor
from lxmert.vision.geometry import BoxesLike, as_boxes
from lxmert.vision.images import ImageSource, load_image
from lxmert.vision.padding import pad_regions
from lxmert.vision.regions import Regions

_CACHE_BYTES = 256 * 2**20
"""About 2,400 images of 36 objects at full size: questions need not come image by image."""

_IMAGES_PER_EXTRACTION = 16
"""Images decoded at a time; a photograph of 12 megapixels takes 36 MB."""


@dataclass(frozen=True, eq=False)
class Question:
    """One question about one image.

    Attributes:
        image: path, http(s) address, bytes, PIL image or array; ready `Regions`; or with a feature store the
            image's name there. Equal paths, names and bytes are processed once, as long as the cache holds
            them; the same object of another kind again where other images come in between.
        text: the question.
        identifier: the caller's key; returned with the answers.
        boxes_xyxy_px: (N, 4) boxes in pixels, for extractors that accept boxes; not with objects that were
            extracted already, as `Regions` or in a feature store.
    """

    image: ImageSource | Regions
    text: str
    identifier: Hashable = None
    boxes_xyxy_px: BoxesLike | None = None


class Prediction(NamedTuple):
    """The answers to one question.

    Attributes:
        identifier: the question's.
        answers: the most probable first, with their probabilities.
    """

    identifier: Hashable
    answers: list[Answer]

    @property
    def best(self) -> Answer:
        """The most probable answer."""
        return self.answers[0]


def answer_questions(
    fast: FastModel,
    processor: LxmertProcessor,
    questions: Iterable[Question],
    *,
    top_k: int = 1,
    features: RegionStore | None = None,
    progress: StartProgress = no_progress,
) -> Iterator[Prediction]:
    """Answer questions in bulk, in their order.

    Args:
        fast: a question-answering model.
        processor: its processor, with answers.
        questions: any number; consumed lazily, some thousands ahead of the answers.
        top_k: number of answers for each.
        features: store of the images' objects; None to extract them from the images.
        progress: shows the progress.

    Yields:
        One `Prediction` for each question.

    Raises:
        VocabularyError: the processor has no answers.
        TextError: a question that is empty, or has no word that the model knows.
        InputError: images to extract objects from, and no extractor; not a `Question`; or boxes for objects
            that were extracted already.
        ImageError: an image that cannot be read.
        RegionsError: boxes that do not fit their image, or are needed and missing.
        DataError: the store lacks an image, or is of another extractor.
    """
    if isinstance(questions, Question) or not isinstance(questions, Iterable):
        raise InputError(f"questions is a {type(questions).__name__}, expected a list of `Question` objects")
    decode_scores = partial(processor.decode_answers, top_k=top_k)
    # A wrong top_k is reported before any work.
    decode_scores(torch.zeros(1, len(processor.require_answers())))
    images = _QuestionImages(processor, features)
    limits = EXTRACTION_WINDOW if features is None else WindowLimits()
    settings = BulkSettings(windows=limits, cache_bytes=_CACHE_BYTES)
    answerer = BulkAnswerer(fast, images, processor.tokenizer.pad_token_id, decode_scores, settings)
    return _answers(answerer, images, processor, questions, limits, progress)


def _answers(
    answerer: BulkAnswerer[list[Answer]],
    images: "_QuestionImages",
    processor: LxmertProcessor,
    questions: Iterable[Question],
    limits: WindowLimits,
    progress: StartProgress,
) -> Iterator[Prediction]:
    advance = progress("Answering questions", length_hint(questions, 0))
    keyed = ((images.key(question), question) for question in _validate(questions))
    for window in split_into_windows(keyed, lambda item: item[:1], limits):
        images.begin_window(window)
        tokens = _token_ids(processor, [question for _, question in window])
        asked = [TokenizedQuestion(ids, (key,)) for ids, (key, _) in zip(tokens, window, strict=True)]
        results = answerer.answer_in_order(asked, advance)
        for (_, question), answers in zip(window, results, strict=True):
            yield Prediction(question.identifier, answers)


class _QuestionImages:
    """The images of questions as an `ObjectSource`."""

    def __init__(self, processor: LxmertProcessor, store: RegionStore | None) -> None:
        self._processor = processor
        self._window_questions: dict[Hashable, Question] = {}
        # By id: the object, kept alive so that its id stays unique, and its number.
        self._identified_images: dict[int, tuple[object, int]] = {}
        self._numbers = count()
        self._names = None if store is None else ImageNameIndex(store)
        self._stored = None if store is None else StoredRegions(store, {})
        if store is not None:
            check_store_extractor(store, processor.extractor_unless(store.extractor))

    def key(self, question: Question) -> Hashable:
        """Return the key of a question's image: equal for images that need to be processed only once."""
        image, boxes = question.image, question.boxes_xyxy_px
        if boxes is not None and (self._names is not None or isinstance(image, Regions)):
            where = "given regions" if self._names is None else "a feature store"
            raise InputError(
                f"{_label(question)} has boxes_xyxy_px, but its objects come from {where}; omit the boxes, "
                "or have the extractor process the image"
            )
        if self._names is not None:
            return self._store_position(question)
        if isinstance(image, str | Path | bytes):
            # Keys outlive the images, which may be large.
            key: Hashable = sha256(image).digest() if isinstance(image, bytes) else str(image)
        else:
            _, key = self._identified_images.setdefault(id(image), (image, next(self._numbers)))
        if boxes is None:
            return key, None
        with _question_in_errors(question):
            return key, as_boxes(boxes).detach().cpu().numpy().tobytes()

    def begin_window(self, window: Sequence[tuple[Hashable, Question]]) -> None:
        """Hold the images of a window, and release those of earlier windows."""
        self._window_questions = dict(window)
        window_ids = {id(question.image) for question in self._window_questions.values()}
        newest = max(
            (
                self._identified_images[identity][1]
                for identity in window_ids
                if identity in self._identified_images
            ),
            default=-1,
        )
        # The first image of the next window may have its key already; its number is the newest.
        self._identified_images = {
            identity: (image, number)
            for identity, (image, number) in self._identified_images.items()
            if identity in window_ids or number > newest
        }

    def load(self, images: Sequence[Hashable]) -> Mapping[str, Tensor]:
        """See `ObjectSource.load`."""
        if self._stored is not None:
            return self._stored.batch(torch.tensor(images))
        questions = [self._window_questions[image] for image in images]
        extracted: dict[int, Regions] = {}
        for has_boxes in (False, True):
            pending = [
                index
                for index, question in enumerate(questions)
                if not isinstance(question.image, Regions)
                and (question.boxes_xyxy_px is not None) == has_boxes
            ]
            for start in range(0, len(pending), _IMAGES_PER_EXTRACTION):
                part = pending[start : start + _IMAGES_PER_EXTRACTION]
                extracted.update(
                    zip(part, self._extract_regions([questions[index] for index in part]), strict=True)
                )
        return pad_regions(
            [
                question.image if isinstance(question.image, Regions) else extracted[index]
                for index, question in enumerate(questions)
            ]
        )

    def _store_position(self, question: Question) -> int:
        """Return the position of the image in the feature store."""
        if not isinstance(question.image, str):
            raise InputError(
                f"{_label(question)} has an image of type {type(question.image).__name__}; with a feature "
                "store, use the image's name in the store"
            )
        position = self._names.find(question.image) if self._names is not None else None
        if position is None:
            raise DataError(
                f"{_label(question)}: the feature store has no image {question.image!r}; add it with "
                "`lxmert extract`"
            )
        return position

    def _extract_regions(self, questions: Sequence[Question]) -> list[Regions]:
        """Extract the regions of images, all of them with boxes or all without."""
        images = [question.image for question in questions if not isinstance(question.image, Regions)]
        boxes = [question.boxes_xyxy_px for question in questions if question.boxes_xyxy_px is not None]
        try:
            return self._processor.regions(images, boxes or None)
        except InputError as error:
            # Find the culprit to name it; an unreadable image by reading alone, which is far faster.
            for index, question in enumerate(questions):
                with _question_in_errors(question):
                    if isinstance(error, ImageError):
                        load_image(images[index])
                    else:
                        self._processor.regions(images[index : index + 1], boxes[index : index + 1] or None)
            raise


def _token_ids(processor: LxmertProcessor, questions: Sequence[Question]) -> list[np.ndarray]:
    """Return the token ids (W,) int64 of each question, with the special tokens."""

    def encode(part: Sequence[Question]) -> list[list[int]]:
        texts = [question.text for question in part]
        ids: list[list[int]] = processor(text=texts, padding=False, return_tensors=None)["input_ids"]
        return ids

    try:
        return [np.array(ids, np.int64) for ids in encode(questions)]
    except TextError:
        for question in questions:  # Find the culprit to name it.
            with _question_in_errors(question):
                encode([question])
        raise


def _validate(questions: Iterable[Question]) -> Iterator[Question]:
    for index, question in enumerate(questions):
        if not isinstance(question, Question):
            raise InputError(
                f"question {index} is a {type(question).__name__}, expected a `Question`: "
                "Question(image, text)"
            )
        yield question


@contextmanager
def _question_in_errors(question: Question) -> Iterator[None]:
    """Name the question in errors about it."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"{_label(question)}: {error}") from error


def _label(question: Question) -> str:
    return f"question {question.text!r}" if question.identifier is None else f"question {question.identifier}"
