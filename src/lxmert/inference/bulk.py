"""Answering questions in bulk with little work for each.

Questions are processed in windows of some thousands. In a window every image's objects go once through the
object-relationship layers, which do not depend on words, and every sentence once through the language layers,
which do not depend on objects (paper section 3.2); duplicate questions are answered once; the rest is batched
by length for the cross-modality layers.

Shapes: B questions of a batch, N images, W words, O objects, H hidden, C classes.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from lxmert.errors import TensorError
from lxmert.inference.bulk_objects import EncodedObjects
from lxmert.inference.bulk_packing import BatchLimits, TokenizedQuestion, WindowLimits, group_duplicates, pack
from lxmert.inference.bulk_words import EncodedWords
from lxmert.inference.fast_model import FastModel

_Result = TypeVar("_Result")

TOKENS_PER_BATCH = {"cpu": 3072, "cuda": 32768}
"""For models of full size: on a CPU about 64 questions of 10 words on 36 objects (docs/prediction.md)."""

FIXED_TOKENS = {"cpu": 100, "cuda": 4096}
"""Cost of a batch besides its tokens: reading the weights, and on a GPU launching the kernels."""


class ObjectSource(Protocol):
    """Where the objects of images come from."""

    def load(self, images: Sequence[Hashable]) -> Mapping[str, Tensor]:
        """Load the visual model inputs of distinct images.

        Returns:
            visual_feats (N, O, D), visual_pos (N, O, P), visual_attention_mask (N, O), with an image's own
            objects before the padding and O at least 1.
        """
        ...


@dataclass(frozen=True)
class BulkSettings:
    """Settings of bulk answering; none changes an answer, apart from rounding.

    Attributes:
        batches: limits of a batch of questions; without any, a default for the device.
        windows: limits of a window.
        cache_bytes: memory for encoded images of earlier windows. 0 makes the computation of a window
            independent of earlier ones.
    """

    batches: BatchLimits = field(default_factory=BatchLimits)
    windows: WindowLimits = field(default_factory=WindowLimits)
    cache_bytes: int = 0

    def batch_limits(self, device: torch.device) -> BatchLimits:
        """Return the limits of batches on a device."""
        limits = replace(self.batches, fixed_tokens=FIXED_TOKENS[_device_kind(device)])
        if limits.tokens is None and limits.questions is None:
            return self.encoding_limits(device)
        return limits

    def encoding_limits(self, device: torch.device) -> BatchLimits:
        """Return the limits of sentences or images encoded at once: on their tokens, never on questions."""
        kind = _device_kind(device)
        tokens = self.batches.tokens or TOKENS_PER_BATCH[kind]
        return BatchLimits(tokens, fixed_tokens=FIXED_TOKENS[kind])


class BulkAnswerer(Generic[_Result]):
    """Answers windows of questions.

    Args:
        fast: the model.
        source: the images' objects.
        pad_token_id: id of the padding token.
        decode_scores: turns the scores (B, C) of a batch into one result per question.
        settings: see `BulkSettings`.

    Attributes:
        fast: the model.
    """

    def __init__(
        self,
        fast: FastModel,
        source: ObjectSource,
        pad_token_id: int,
        decode_scores: Callable[[Tensor], Sequence[_Result]],
        settings: BulkSettings | None = None,
    ) -> None:
        settings = settings or BulkSettings()
        self.fast = fast
        self._decode_scores = decode_scores
        self._limits = settings.batch_limits(fast.device)
        encoding_limits = settings.encoding_limits(fast.device)
        self._words = EncodedWords(fast, pad_token_id, encoding_limits)
        self._objects = EncodedObjects(fast, source.load, encoding_limits, settings.cache_bytes)

    def answer(
        self,
        window: Sequence[TokenizedQuestion],
        is_done: Callable[[Sequence[int]], bool] = lambda indices: False,
    ) -> Iterator[tuple[list[int], list[_Result]]]:
        """Answer the questions of a window, batch by batch.

        Args:
            window: the questions; all about the same number of images.
            is_done: whether a batch, given as indices into the window, can be skipped. This does not change
                the other results by a bit.

        Yields:
            Indices into the window and their results; every index comes once.
        """
        groups = group_duplicates(window)
        unique = [window[indices[0]] for indices in groups]
        self._objects.encode(list(dict.fromkeys(image for question in unique for image in question.images)))
        self._words.encode([question.token_ids for question in unique])
        batches = pack(
            [len(question.token_ids) for question in unique],
            [max(map(self._objects.count, question.images)) for question in unique],
            len(unique[0].images),
            self._limits,
        )
        for batch in batches:
            indices = [index for number in batch for index in groups[number]]
            if is_done(indices):
                continue
            unique_results = self._answer_batch([unique[number] for number in batch])
            results = [
                result for number, result in zip(batch, unique_results, strict=True) for _ in groups[number]
            ]
            yield indices, results
        self._objects.evict()

    def answer_in_order(
        self, window: Sequence[TokenizedQuestion], advance: Callable[[int], None] = lambda questions: None
    ) -> list[_Result]:
        """Return the results of a window in order; `advance` is called with the size of each batch."""
        results: dict[int, _Result] = {}
        for indices, batch_results in self.answer(window):
            results.update(zip(indices, batch_results, strict=True))
            advance(len(indices))
        return [results[index] for index in range(len(window))]

    def _answer_batch(self, questions: Sequence[TokenizedQuestion]) -> Sequence[_Result]:
        words, words_mask = self._words.batch([question.token_ids for question in questions])
        objects, objects_mask = self._objects.batch([question.images for question in questions])
        return self._decode_scores(self.fast.scores(words, words_mask, objects, objects_mask))


def _device_kind(device: torch.device) -> str:
    """Return the kind of a device that limits are known for."""
    return device.type if device.type in TOKENS_PER_BATCH else "cpu"


def best_labels(scores: Tensor) -> list[int]:
    """Return the best class of each row of scores (B, C).

    Raises:
        TensorError: scores that are not finite, such as after an overflow in float16.
    """
    if not bool(torch.isfinite(scores).all()):
        raise TensorError(
            "the model's scores contain NaN or infinity; check its weights, or use float32 or bfloat16"
        )
    labels: list[int] = scores.argmax(dim=1).tolist()
    return labels
