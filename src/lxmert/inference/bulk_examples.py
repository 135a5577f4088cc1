"""Answering the examples of a split of VQA, GQA or NLVR2 in bulk, each by the class its model chooses."""

import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

from torch import Tensor
from transformers import PreTrainedModel

from lxmert.data.image_files import ImageFile, check_files_exist, open_region_store, require_extractor
from lxmert.data.joined_stores import RegionStore
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.task_split import SplitExamples
from lxmert.data.token_table import TokenTable
from lxmert.inference.agreement import (
    QUESTIONS_COMPARED,
    Agreement,
    CachingObjectSource,
    labels_where_finite,
)
from lxmert.inference.bulk import BulkAnswerer, BulkSettings, ObjectSource, best_labels
from lxmert.inference.bulk_packing import BatchLimits, TokenizedQuestion, WindowLimits, split_into_windows
from lxmert.inference.bulk_sources import EXTRACTION_WINDOW, ExtractedObjects, StoredObjects
from lxmert.inference.dtype_choice import AnswerSample, DtypeChooser, RunSize
from lxmert.inference.fast_model import FastModel
from lxmert.inference.model_setup import ModelSetup
from lxmert.processing import LxmertProcessor
from lxmert.vision.extractor import RegionExtractor


class ExampleAnswerer:
    """Answers the examples of a split.

    The model is set up once: on construction where `setup` says all, else by `prepare_answerer`, which may
    answer some questions twice before it does.

    Args:
        model: a model of the task, which is set up in place.
        processor: its processor, with an extractor where there is no feature store.
        examples: what is asked.
        features: store of the images' objects; None to extract them from the images.
        setup: how the model is set up. With dtype "auto" it answers in 8 bits if it is compiled, or if
            `compiled` is None and compiling pays for so many examples; else in bfloat16 where the device has
            units for it; each only if the work is large enough, and nearly all of the first questions are
            answered as in float32. "int8" is used in any case, and how many were is reported.
        batch_size: most examples at once; None for what suits model and device.
        processes: number of processes that share the examples.
        progress: shows everything before the first answer: tokenising, comparing, compiling.
        notify: called with a line where lower precision will not do, of how well 8 bits do, and where "auto"
            cannot compile for them.

    Attributes:
        tokens: token ids of the sentences.
        order: indices of all examples, those about the same image side by side.
        image_files: the images that objects are extracted from, by name; empty with a feature store.

    Raises:
        ConfigurationError: there is neither extractor nor feature store, or no such dtype here.
        DataError: the store is of another extractor or lacks images, or images or boxes are missing.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: LxmertProcessor,
        examples: SplitExamples,
        features: RegionStore | None = None,
        *,
        setup: ModelSetup | None = None,
        batch_size: int | None = None,
        processes: int = 1,
        progress: StartProgress = no_progress,
        notify: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.image_files = {} if features is not None else _find_image_files(examples, processor.extractor)
        self._source, self._window_limits = _object_source(examples, processor, features, self.image_files)
        self._images = [example.images for example in examples.examples]
        texts = (example.text for example in examples.examples)
        advance = progress("Tokenising", len(self._images))
        self.tokens = TokenTable(texts, processor.tokenizer, processor.max_text_length, advance)
        first_seen = {image: index for index, image in enumerate(examples.image_names())}
        self.order = sorted(
            range(len(self._images)),
            key=lambda index: [first_seen[image] for image in self._images[index]],
        )
        self._progress = progress
        self._pad_token_id: int = processor.tokenizer.pad_token_id
        self._settings = BulkSettings(BatchLimits(questions=batch_size), self._window_limits)
        run = RunSize(len(self.order), processes, extracts_regions=features is None)
        self._chooser = DtypeChooser(model, setup or ModelSetup(), run, self._start_sample, progress, notify)
        self._answerer: BulkAnswerer[int] | None = None

    @property
    def dtype(self) -> str:
        """What the model answers in, once it is prepared: "float32", "bfloat16", "float16" or "int8"."""
        return self._chooser.dtype

    def agreement(self) -> Agreement:
        """Compare lower precision with float32: the lowest that is good enough, else the last one compared.

        The questions are the first different ones of `order`, the same in every process of a run, whatever is
        done already. Nothing is compared where that cannot pay; see `Agreement`. If 8 bits are good enough,
        the model is set up for them.

        Raises:
            ConfigurationError: 8 bits were asked for, and the model cannot be rounded or compiled here.
            ImageError: an image cannot be read.
            RegionsError: an image's boxes are unusable.
        """
        return self._chooser.agreement()

    def prepare_answerer(self, get_agreement: Callable[[], Agreement] | None = None) -> BulkAnswerer[int]:
        """Set the model up, with dtype "auto" or "int8" after a comparison; later calls return the same.

        Args:
            get_agreement: how the agreement is found; None for `agreement`.

        Returns:
            what answers windows of questions.
        """
        if self._answerer is None:
            fast = self._chooser.set_up(get_agreement or self.agreement)
            self._answerer = self._build_answerer(fast, self._source, best_labels)
        return self._answerer

    def answer(
        self, indices: Sequence[int], is_done: Callable[[Sequence[int]], bool] = lambda indices: False
    ) -> Iterator[tuple[list[int], list[int]]]:
        """Answer the examples of these indices, batch by batch.

        What is computed for an example depends on `indices` alone: the examples that are done are left out
        by whole batches. A model that is not prepared yet is prepared first.

        Args:
            indices: a part of `order`.
            is_done: whether all examples of these indices are done.

        Yields:
            Indices and their class ids; every index comes once, but for those that are done.
        """
        answerer = self.prepare_answerer()
        for window in split_into_windows(indices, self._images.__getitem__, self._window_limits):
            if is_done(window):
                continue
            self._chooser.warm_up(answerer.fast)

            def all_done(batch: Sequence[int], window: Sequence[int] = window) -> bool:
                return is_done([window[row] for row in batch])

            questions = [self._tokenized_question(index) for index in window]
            for batch, labels in answerer.answer(questions, all_done):
                yield [window[row] for row in batch], labels

    def image_paths(self, indices: Sequence[int]) -> list[str]:
        """Return the absolute paths of the images that objects of these examples are extracted from."""
        images = dict.fromkeys(image for index in indices for image in self._images[index])
        return [
            os.path.abspath(self.image_files[image].path) for image in images if image in self.image_files
        ]

    def _start_sample(self, lower_dtype: str, runs: int) -> AnswerSample:
        """Return what answers the first distinct questions, as many as are compared, in each of its runs."""
        questions = self._first_distinct(QUESTIONS_COMPARED[lower_dtype])
        advance = self._progress(f"Comparing {lower_dtype} with float32", runs * len(questions))
        source = CachingObjectSource(self._source)

        def answer_sample(fast: FastModel) -> list[int]:
            answerer = self._build_answerer(fast, source, labels_where_finite)
            windows = split_into_windows(questions, lambda question: question.images, self._window_limits)
            return [label for window in windows for label in answerer.answer_in_order(window, advance)]

        return answer_sample

    def _build_answerer(
        self, fast: FastModel, source: ObjectSource, decode_scores: Callable[[Tensor], list[int]]
    ) -> BulkAnswerer[int]:
        return BulkAnswerer(fast, source, self._pad_token_id, decode_scores, self._settings)

    def _tokenized_question(self, index: int) -> TokenizedQuestion:
        return TokenizedQuestion(self.tokens[index], self._images[index])

    def _first_distinct(self, count: int) -> list[TokenizedQuestion]:
        distinct: dict[Hashable, TokenizedQuestion] = {}
        for index in self.order:
            if len(distinct) == count:
                break
            question = self._tokenized_question(index)
            distinct.setdefault(question.key, question)
        return list(distinct.values())


def _object_source(
    examples: SplitExamples,
    processor: LxmertProcessor,
    features: RegionStore | None,
    image_files: Mapping[str, ImageFile],
) -> tuple[ObjectSource, WindowLimits]:
    if features is not None:
        extractor = processor.extractor_unless(features.extractor)
        regions = open_region_store(features, examples.image_names(), extractor, in_memory_bytes=0)
        return StoredObjects(regions), WindowLimits()
    return ExtractedObjects(image_files, processor.extractor), EXTRACTION_WINDOW


def _find_image_files(examples: SplitExamples, extractor: RegionExtractor | None) -> dict[str, ImageFile]:
    extractor = require_extractor(extractor)
    files = examples.image_files(with_boxes=extractor.needs_boxes)
    check_files_exist([file.path for file in files.values()], f"images of the split {examples.split.name}")
    return files
