"""Answering any number of questions with little work for each.

Questions are taken in windows of some thousands. In a window every image's objects go through the
object-relationship layers once, in which no word has a part, and every sentence through the language layers,
in which no object has one (paper section 3.2); equal questions are asked once; the others are put into
batches of like length for the cross-modality layers.

Shapes: B questions of a batch, N images, W words, O objects, H hidden, C classes.
"""

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from lxmert.errors import TensorError
from lxmert.inference.bulk_objects import EncodedObjects
from lxmert.inference.bulk_packing import Asked, BatchLimits, WindowLimits, equal_questions, pack
from lxmert.inference.bulk_words import EncodedWords
from lxmert.inference.fast_model import FastModel

_Result = TypeVar("_Result")

TOKENS_PER_BATCH = {"cpu": 3072, "cuda": 32768}
"""For models of full size: on a CPU about 64 questions of 10 words on 36 objects (docs/prediction.md)."""

FIXED_TOKENS = {"cpu": 100, "cuda": 4096}
"""What a batch costs beside its tokens: reading the weights, and on a GPU starting the kernels."""


class ObjectSource(Protocol):
    """Where the objects of images come from."""

    def load(self, images: Sequence[Hashable]) -> Mapping[str, Tensor]:
        """The visual model inputs of these images, each there once.

        Returns:
            visual_feats (N, O, D), visual_pos (N, O, P), visual_attention_mask (N, O), with an image's own
            objects first and O at least 1.
        """
        ...


@dataclass(frozen=True)
class BulkSettings:
    """How bulk work is done; none of it changes an answer, apart from rounding.

    Attributes:
        batches: how large a batch of questions becomes; without any limit what suits the device.
        windows: how much is worked on at a time.
        cache_bytes: memory for encoded images of earlier windows. 0 makes what is computed for a window
            independent of the windows before it.
    """

    batches: BatchLimits = field(default_factory=BatchLimits)
    windows: WindowLimits = field(default_factory=WindowLimits)
    cache_bytes: int = 0

    def batch_limits(self, device: torch.device) -> BatchLimits:
        """The limits of batches on a device."""
        kind = device.type if device.type in TOKENS_PER_BATCH else "cpu"
        limits = replace(self.batches, fixed_tokens=FIXED_TOKENS[kind])
        if limits.tokens is None and limits.questions is None:
            return replace(limits, tokens=TOKENS_PER_BATCH[kind])
        return limits


class BulkAnswerer(Generic[_Result]):
    """Answers windows of questions.

    Args:
        fast: the model.
        source: the images' objects.
        pad_token_id: id of the padding token.
        conclude: makes the results of a batch, one per question, from its scores (B, C).
        settings: see `BulkSettings`.

    Attributes:
        seconds: time so far in the model, without that of the source.
    """

    def __init__(
        self,
        fast: FastModel,
        source: ObjectSource,
        pad_token_id: int,
        conclude: Callable[[Tensor], Sequence[_Result]],
        settings: BulkSettings | None = None,
    ) -> None:
        settings = settings or BulkSettings()
        self.seconds = 0.0
        self._fast = fast
        self._conclude = conclude
        self._limits = settings.batch_limits(fast.device)
        # Limits by questions alone are for questions; what is encoded for many of them keeps to tokens.
        alone = replace(self._limits, tokens=self._limits.tokens or TOKENS_PER_BATCH["cpu"], questions=None)
        self._words = EncodedWords(fast, pad_token_id, alone)
        self._objects = EncodedObjects(fast, source.load, alone, settings.cache_bytes)

    def answer(
        self, window: Sequence[Asked], is_done: Callable[[Sequence[int]], bool] = lambda places: False
    ) -> Iterator[tuple[list[int], list[_Result]]]:
        """Answer the questions of a window, batch by batch.

        Args:
            window: the questions; all about equally many images.
            is_done: whether a batch, given as places in the window, need not be answered. What else is
                computed does not depend on it, not by a bit.

        Yields:
            Places in the window, and their results; every place comes once.
        """
        start, loading = time.perf_counter(), self._objects.seconds_loading
        groups = equal_questions(window)
        firsts = [window[places[0]] for places in groups]
        self._objects.encode(list(dict.fromkeys(image for asked in firsts for image in asked.images)))
        self._words.encode([asked.token_ids for asked in firsts])
        batches = pack(
            [len(asked.token_ids) for asked in firsts],
            [max(map(self._objects.count, asked.images)) for asked in firsts],
            len(firsts[0].images),
            self._limits,
        )
        self.seconds += time.perf_counter() - start - (self._objects.seconds_loading - loading)
        for batch in batches:
            places = [place for number in batch for place in groups[number]]
            if is_done(places):
                continue
            start = time.perf_counter()
            found = self._results([firsts[number] for number in batch])
            results = [one for number, one in zip(batch, found, strict=True) for _ in groups[number]]
            self.seconds += time.perf_counter() - start
            yield places, results
        self._objects.forget()

    def answer_in_order(
        self, window: Sequence[Asked], advance: Callable[[int], None] = lambda questions: None
    ) -> list[_Result]:
        """The results of a window in its order; `advance` is told of each batch's questions."""
        results: dict[int, _Result] = {}
        for places, found in self.answer(window):
            results.update(zip(places, found, strict=True))
            advance(len(places))
        return [results[place] for place in range(len(window))]

    def _results(self, asked: Sequence[Asked]) -> Sequence[_Result]:
        words, words_mask = self._words.batch([one.token_ids for one in asked])
        objects, objects_mask = self._objects.batch([one.images for one in asked])
        return self._conclude(self._fast.scores(words, words_mask, objects, objects_mask))


def best_labels(scores: Tensor) -> list[int]:
    """The class that each row of scores (B, C) is highest for.

    Raises:
        TensorError: scores that are not finite, as float16 makes of large ones.
    """
    if not bool(torch.isfinite(scores).all()):
        raise TensorError(
            "the model's scores hold NaN or infinity; check its weights, or answer in float32 or bfloat16"
        )
    labels: list[int] = scores.argmax(dim=1).tolist()
    return labels
