"""Answering the examples of a split of VQA, GQA or NLVR2 in bulk, each by the class its model chooses."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial

from torch import Tensor
from transformers import PreTrainedModel

from lxmert.data.image_files import open_region_store
from lxmert.data.joined_stores import RegionStore
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.task_split import SplitExamples
from lxmert.data.token_table import TokenTable
from lxmert.inference.agreement import (
    QUESTIONS_COMPARED,
    Agreement,
    CachingObjectSource,
    compare_dtypes,
    compare_int8,
    is_worth_comparing,
    labels_where_finite,
    measure_agreement,
)
from lxmert.inference.bulk import BulkAnswerer, BulkSettings, ObjectSource, best_labels
from lxmert.inference.bulk_packing import BatchLimits, TokenizedQuestion, WindowLimits, split_into_windows
from lxmert.inference.bulk_sources import EXTRACTION_WINDOW, ExtractedObjects, StoredObjects
from lxmert.inference.fast_model import AUTO, INT8, FastModel, answering_dtype, check_int8_setup
from lxmert.inference.model_setup import ModelSetup, compilation_pays
from lxmert.processing import LxmertProcessor


class ExampleAnswerer:
    """Answers the examples of a split.

    The model is set up once: on construction where `setup` leaves nothing open, else by `prepare_answerer`,
    which may answer some questions twice before it does, and compiles it.

    Args:
        model: a model of the task, which is set up in place.
        processor: its processor, with an extractor where there is no feature store.
        examples: what is asked.
        features: store of the images' objects; None to extract them from the images.
        setup: how the model is set up. With `compiled` None it is compiled where there are so many questions
            that this pays. With dtype "auto" it answers in 8 bits if compiled, else in bfloat16 where the
            device has units for it; each only if the work is large enough, and nearly all of the first
            questions are answered as in float32. "int8" is used in any case, and how many were is reported.
        batch_size: most examples at once; None for what suits model and device.
        processes: number of processes that share the examples.
        progress: shows everything before the first answer: tokenising, comparing, compiling.

    Attributes:
        tokens: token ids of the sentences.
        order: indices of all examples, those about the same image side by side.

    Raises:
        ConfigurationError: there is neither extractor nor feature store, or no such dtype here.
        DataError: the store is of another extractor or lacks images, or boxes are missing.
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
    ) -> None:
        self._source, self._window_limits = _object_source(examples, processor, features)
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
        self._model = model
        self._setup = setup or ModelSetup()
        self._needs_comparison = self._setup.dtype in (AUTO, INT8)
        self._extracts_regions = features is None
        own_examples = 0 if self._extracts_regions else len(self.order) // processes
        self._compilation_pays = compilation_pays(model, own_examples)
        self._pad_token_id: int = processor.tokenizer.pad_token_id
        self._settings = BulkSettings(BatchLimits(questions=batch_size), self._window_limits)
        self._fast: FastModel | None = None
        self._answerer: BulkAnswerer[int] | None = None
        if self._setup.dtype == INT8:
            check_int8_setup(model.device, compiled=self._setup.compiled is not False)
        elif not self._needs_comparison and self._setup.compiled is False:
            self._apply_setup(self._setup)

    @property
    def seconds(self) -> float:
        """Time so far in the model, without reading images, extracting their objects, and `agreement`."""
        return 0.0 if self._answerer is None else self._answerer.seconds

    @property
    def dtype(self) -> str:
        """What the model answers in, once it is prepared: "float32", "bfloat16", "float16" or "int8"."""
        return answering_dtype(self._model)

    def agreement(self) -> Agreement:
        """Compare a lower precision with float32: the first one that "auto" finds good enough, else the last.

        The questions are the first different ones of `order`, the same in every process of a run, whatever is
        done already. Nothing is compared where that cannot pay; see `Agreement`.

        Raises:
            ImageError: an image cannot be read.
            RegionsError: an image's boxes are unusable.
        """
        if self._setup.dtype == INT8:
            return self._agreement_of(INT8, self._compare_applied_int8)
        if self._setup.compiled:
            found = self._agreement_of(INT8, partial(compare_int8, self._model))
            if found.is_enough:
                return found
        return self._agreement_of("bfloat16", partial(compare_dtypes, self._model))

    def _agreement_of(
        self,
        lower_dtype: str,
        compare: Callable[[Callable[[FastModel], list[int]]], Agreement],
    ) -> Agreement:
        is_worthwhile = is_worth_comparing(
            self._model,
            lower_dtype,
            len(self.order),
            extracts_regions=self._extracts_regions,
            is_requested=self._setup.dtype == INT8,
        )
        if not is_worthwhile:
            return Agreement(lower_dtype=lower_dtype)
        questions = self._first_distinct(QUESTIONS_COMPARED[lower_dtype])
        advance = self._progress(f"Comparing {lower_dtype} with float32", 2 * len(questions))
        source = CachingObjectSource(self._source)

        def predict_labels(fast: FastModel) -> list[int]:
            return self._build_answerer(fast, source, labels_where_finite).answer_in_order(questions, advance)

        return compare(predict_labels)

    def _compare_applied_int8(self, predict_labels: Callable[[FastModel], list[int]]) -> Agreement:
        """Compare the model as it is set up, compiled: 8 bits are used whatever the result."""
        exact = predict_labels(FastModel(self._model, dtype="float32"))
        return measure_agreement(exact, predict_labels(self._apply_setup(self._setup)), INT8)

    def prepare_answerer(
        self,
        get_agreement: Callable[[], Agreement] | None = None,
        notify: Callable[[str], None] = lambda line: None,
    ) -> BulkAnswerer[int]:
        """Set the model up, with dtype "auto" or "int8" after a comparison; later calls return the same.

        Args:
            get_agreement: how the agreement is found; None for `agreement`.
            notify: called with a line where bfloat16 will not do, of how well 8 bits do, and where the model
                cannot be compiled.

        Returns:
            what answers windows of questions.
        """
        if self._answerer is None:
            self._setup = self._setup.with_compilation(pays=self._compilation_pays, notify=notify)
            setup = self._setup
            if self._needs_comparison:
                setup = self._choose_setup(
                    self.agreement() if get_agreement is None else get_agreement(), notify
                )
            self._answerer = self._build_answerer(self._apply_setup(setup), self._source, best_labels)
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

            def all_done(batch: Sequence[int], window: Sequence[int] = window) -> bool:
                return is_done([window[row] for row in batch])

            questions = [self._tokenized_question(index) for index in window]
            for batch, labels in answerer.answer(questions, all_done):
                yield [window[row] for row in batch], labels

    def _choose_setup(self, agreement: Agreement, notify: Callable[[str], None]) -> ModelSetup:
        """The set-up that a comparison leads to."""
        is_requested = self._setup.dtype == INT8
        if agreement.compared:
            line, required = agreement.summary(), f"{agreement.required_percent:g} % required"
            if is_requested and not agreement.is_enough:
                line += f" ({required} by auto)"
            elif not agreement.is_enough:
                line += f" ({required}); using float32 (--dtype bfloat16 to override)"
            elif not is_requested:
                line += f"; using {agreement.dtype} (--dtype float32 to override)"
            if agreement.lower_dtype == INT8 or not agreement.is_enough:
                notify(line)
        if is_requested:
            return self._setup
        # Only compiled models answer in 8 bits, also where another process or an earlier run has decided.
        compiled = self._setup.compiled or agreement.dtype == INT8
        return ModelSetup(agreement.dtype, compiled)

    def _apply_setup(self, setup: ModelSetup) -> FastModel:
        """The model set up, by the first call: 8 bits come only from weights that are not rounded yet."""
        if self._fast is None:
            self._fast = setup.apply(self._model)
            if setup.compiled:
                self._fast.warm_up(self._progress("Compiling", 3))
        return self._fast

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
    examples: SplitExamples, processor: LxmertProcessor, features: RegionStore | None
) -> tuple[ObjectSource, WindowLimits]:
    if features is not None:
        extractor = processor.extractor_unless(features.extractor)
        regions = open_region_store(features, examples.image_names(), extractor, in_memory_bytes=0)
        return StoredObjects(regions), WindowLimits()
    extractor = processor.extractor
    files = examples.image_files(with_boxes=extractor is not None and extractor.needs_boxes)
    return ExtractedObjects(files, extractor), EXTRACTION_WINDOW
