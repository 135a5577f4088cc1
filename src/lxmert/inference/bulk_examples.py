"""Answering the examples of a split of VQA, GQA or NLVR2 in bulk, each by the class its model chooses."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel

from lxmert.data.image_files import look_up
from lxmert.data.joined_stores import open_stores
from lxmert.data.task_split import SplitExamples
from lxmert.data.token_table import TokenTable
from lxmert.inference.bulk import BulkAnswerer, BulkSettings, ObjectSource, best_labels
from lxmert.inference.bulk_packing import Asked, BatchLimits, WindowLimits, windows
from lxmert.inference.bulk_sources import LOOKING_WINDOW, LookedAtObjects, StoredObjects
from lxmert.inference.fast_model import FastModel
from lxmert.processing import LxmertProcessor

_NOTHING_KEPT = 0


@dataclass(frozen=True)
class ModelSetup:
    """How a model is set up for answering; see `FastModel`.

    Attributes:
        dtype: "float32", "bfloat16", "float16" or "auto"; None leaves the model's own.
        compiled: run through `torch.compile`.
    """

    dtype: str | None = None
    compiled: bool = False

    def apply(self, model: PreTrainedModel) -> FastModel:
        """Set a model up, in place.

        Raises:
            ConfigurationError: what is asked for does not exist, or not on the model's device.
        """
        return FastModel(model, dtype=self.dtype, compiled=self.compiled)


class ExampleAnswerer:
    """Answers the examples of a split.

    Args:
        model: a model of the task, which is set up in place.
        processor: its processor, with an extractor where there is no feature store.
        examples: what is asked.
        features: feature stores that hold the images' objects already; none to look at the images.
        setup: how the model is set up.
        batch_size: most examples at once; None for what suits model and device.

    Attributes:
        tokens: token ids of the sentences.
        order: places of all examples, those about the same image side by side.

    Raises:
        ConfigurationError: there is neither extractor nor feature store.
        DataError: a store is of another extractor or lacks images, or boxes are missing.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: LxmertProcessor,
        examples: SplitExamples,
        features: Sequence[Path] = (),
        *,
        setup: ModelSetup | None = None,
        batch_size: int | None = None,
    ) -> None:
        source, self._windows = _source(examples, processor, features)
        self._images = [example.images for example in examples.examples]
        texts = (example.text for example in examples.examples)
        self.tokens = TokenTable(texts, processor.tokenizer, processor.max_text_length)
        first_seen = {image: place for place, image in enumerate(examples.image_names())}
        self.order = sorted(
            range(len(self._images)),
            key=lambda place: [first_seen[image] for image in self._images[place]],
        )
        settings = BulkSettings(
            batches=BatchLimits(questions=batch_size),
            windows=self._windows,
            cache_bytes=_NOTHING_KEPT,
        )
        self._answerer = BulkAnswerer(
            (setup or ModelSetup()).apply(model),
            source,
            processor.tokenizer.pad_token_id,
            best_labels,
            settings,
        )

    @property
    def seconds(self) -> float:
        """Time so far in the model, without reading and looking at images."""
        return self._answerer.seconds

    def answer(
        self, places: Sequence[int], is_done: Callable[[Sequence[int]], bool] = lambda places: False
    ) -> Iterator[tuple[list[int], list[int]]]:
        """Answer the examples at these places, batch by batch.

        What is computed for an example depends on `places` alone: the examples that are done are left out
        by whole batches.

        Args:
            places: a part of `order`.
            is_done: whether all examples at these places are done.

        Yields:
            Places and their class ids; every place comes once, but for those that are done.
        """
        for window in windows(places, self._images.__getitem__, self._windows):
            if is_done(window):
                continue

            def all_done(inside: Sequence[int], window: Sequence[int] = window) -> bool:
                return is_done([window[one] for one in inside])

            asked = [Asked(self.tokens[place], self._images[place]) for place in window]
            for found, labels in self._answerer.answer(asked, all_done):
                yield [window[one] for one in found], labels


def _source(
    examples: SplitExamples, processor: LxmertProcessor, features: Sequence[Path]
) -> tuple[ObjectSource, WindowLimits]:
    extractor = processor.extractor
    if features:
        regions = look_up(open_stores(features), examples.image_names(), extractor, in_memory_bytes=0)
        return StoredObjects(regions), WindowLimits()
    files = examples.image_files(with_boxes=extractor is not None and extractor.needs_boxes)
    return LookedAtObjects(files, extractor), LOOKING_WINDOW
