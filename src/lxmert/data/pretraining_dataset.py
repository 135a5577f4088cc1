"""Batches of the five pre-training tasks from sentences about images (paper section 3.1).

All randomness in an example follows from its draw number, epoch · examples + index, from a
`training.sampling.DrawSampler`; see `masking`. Numbers 0 .. len - 1 are those of epoch 0: always using these,
as validation does, gives the same pairs and masks every time.

Shapes: B batch, W words (padded to the longest of the batch), O objects, D features.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from lxmert.data.answer_targets import AnswerTargets
from lxmert.data.answers import AnswerVocabulary
from lxmert.data.image_text import ImageText
from lxmert.data.masking import RandomStream, random_generator
from lxmert.data.pretraining_settings import PretrainingSettings
from lxmert.data.progress import StartProgress, iterate_with_progress, no_progress
from lxmert.data.region_source import ObjectLabelSource, RegionSource
from lxmert.data.task_examples import IGNORED_LABEL
from lxmert.data.token_table import TokenTable, pad_token_ids
from lxmert.errors import DataError

# Random numbers for each object: whether and how it is masked; of a replacement, its image and object.
_NUMBERS_PER_OBJECT = 4
_NUMBERS_PER_WORD = 3


class PretrainingItem(NamedTuple):
    """One image and a sentence, ready to be batched.

    Attributes:
        draw: the draw number.
        region_row: the image's row in the region source.
        token_ids: (W,) int64 with the special tokens; of another image's sentence in a mismatched pair.
        is_matched: True where the sentence is about the image.
        answer: class id of an answer, -100 if none is known or the pair is mismatched.
    """

    draw: int
    region_row: int
    token_ids: np.ndarray
    is_matched: bool
    answer: int


class PretrainingDataset(Dataset[PretrainingItem]):
    """Sentences about images, masked and paired anew at every draw number.

    Only numbers are kept, in a few arrays that loader processes share.

    Args:
        texts: The sentences with their images and answers.
        tokenizer: Turns sentences into ids.
        max_length: Maximum number of tokens of a sentence, special tokens included (authors: 20).
        regions: The images' regions; must have every image of the texts by its name.
        answers: The answers in class order; None turns question answering off.
        settings: The tasks.
        progress: Shows the tokenising.

    Attributes:
        sources: Names of the texts' sources, sorted.
        source_ids: (examples,) int64, index into `sources`.

    Raises:
        DataError: No texts, an image without regions, or only one image although mismatched pairs are on.
    """

    def __init__(
        self,
        texts: Sequence[ImageText],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        regions: RegionSource,
        answers: AnswerVocabulary | None = None,
        settings: PretrainingSettings | None = None,
        *,
        progress: StartProgress = no_progress,
    ) -> None:
        self.regions = regions
        self.settings = PretrainingSettings() if settings is None else settings
        self.tokenizer_info = TokenizerInfo(tokenizer.pad_token_id, tokenizer.mask_token_id, len(tokenizer))
        self.has_question_answering = answers is not None
        self.rows = _rows(texts, regions)
        if self.settings.mismatch_probability and (self.rows == self.rows[0]).all():
            raise DataError(
                "all sentences are about one image; expected several images, so that a sentence can be "
                "paired with another image"
            )
        self._tokens = TokenTable(
            (text.sentence for text in texts), tokenizer, max_length, progress("Tokenising", len(texts))
        )
        labelled = iterate_with_progress(texts, "Looking up answers", progress)
        self._answers = AnswerTargets((text.answers for text in labelled), answers)
        self.sources = sorted({text.source for text in texts})
        places = {source: place for place, source in enumerate(self.sources)}
        source_places = (places[text.source] for text in texts)
        self.source_ids = torch.from_numpy(np.fromiter(source_places, np.int64, len(texts)))

    @property
    def lengths(self) -> list[int]:
        """Number of tokens of each sentence."""
        return self._tokens.lengths

    @property
    def question_count(self) -> int:
        """Number of sentences with an answer in the vocabulary."""
        return self._answers.answered_count

    def answer_scores(self, index: int) -> dict[int, float]:
        """Scores by class id of an example's answers; empty if none is known."""
        return self._answers.scores(index)

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, draw: int) -> PretrainingItem:
        """The example of this draw number."""
        index = draw % len(self)
        other = self._mismatched_index(draw, index)
        is_matched = other is None
        answer = self._answers.draw(index, self.settings.seed, draw) if is_matched else IGNORED_LABEL
        sentence = index if other is None else other
        return PretrainingItem(draw, int(self.rows[index]), self._tokens[sentence], is_matched, answer)

    def _mismatched_index(self, draw: int, index: int) -> int | None:
        """The example of another image whose sentence replaces this one's, or None."""
        if not self.settings.mismatch_probability:
            return None
        generator = random_generator(self.settings.seed, draw, RandomStream.PAIR)
        if generator.random() >= self.settings.mismatch_probability:
            return None
        while True:
            other = int(generator.random() * len(self))
            if self.rows[other] != self.rows[index]:
                return other


class TokenizerInfo(NamedTuple):
    """The tokenizer's properties that batches need."""

    pad_token_id: int
    mask_token_id: int
    vocabulary_size: int


class PretrainingCollator:
    """Makes batches of `LxmertForPreTraining`'s inputs and targets; masks words and objects.

    Args:
        dataset: where the items come from.
        pad_to_multiple_of: the words' axis is padded to a multiple of this; masked padding changes no result.
        object_labels: the objects' labels; None takes the extractor's.

    Raises:
        DataError: classes or attributes are to be predicted, but there are no labels.
    """

    def __init__(
        self,
        dataset: PretrainingDataset,
        *,
        pad_to_multiple_of: int = 1,
        object_labels: ObjectLabelSource | None = None,
    ) -> None:
        self._dataset = dataset
        self._settings = dataset.settings
        self._regions = dataset.regions
        self._pad_to_multiple_of = pad_to_multiple_of
        self._object_labels = object_labels or dataset.regions.object_labels
        wanted = {"obj", "attr"} & set(self._settings.object_targets)
        if wanted and self._object_labels is None:
            raise DataError(
                f"{self._regions.extractor} does not provide the classes of its objects, so they cannot "
                "be predicted; turn off these tasks, or use a detector that names them"
            )

    def __call__(self, items: Sequence[PretrainingItem]) -> dict[str, Any]:
        """Batch the items.

        Returns:
            input_ids, attention_mask, token_type_ids (B, W) int64; visual_feats (B, O, D), visual_pos
            (B, O, 4), visual_attention_mask (B, O); and, as the settings require, labels (B, W),
            obj_labels {"obj", "attr", "feat"} as in `LxmertForPreTraining`, matched_label (B,), ans (B,).
            Class ids are -100 where there is nothing to learn.
        """
        batch = self._words(items) | self._objects(items)
        if self._settings.mismatch_probability:
            batch["matched_label"] = torch.tensor([int(item.is_matched) for item in items])
        if self._dataset.has_question_answering:
            batch["ans"] = torch.tensor([item.answer for item in items])
        return batch

    def _words(self, items: Sequence[PretrainingItem]) -> dict[str, Any]:
        info, masking = self._dataset.tokenizer_info, self._settings.words
        sentences = [item.token_ids for item in items]
        ids, attention_mask = pad_token_ids(sentences, info.pad_token_id, self._pad_to_multiple_of)
        batch = {}
        if masking is not None:
            lengths = [len(token_ids) for token_ids in sentences]
            numbers = self._numbers(items, RandomStream.WORDS, (ids.shape[1], _NUMBERS_PER_WORD), lengths)
            # The first and the last token are special.
            maskable = np.zeros(ids.shape, bool)
            maskable[:, 1:-1] = attention_mask[:, 2:] != 0
            ids, labels = masking.mask(ids, maskable, numbers, info.mask_token_id, info.vocabulary_size)
            batch["labels"] = torch.from_numpy(labels)
        input_ids = torch.from_numpy(ids)
        return {
            "input_ids": input_ids,
            "attention_mask": torch.from_numpy(attention_mask),
            "token_type_ids": torch.zeros_like(input_ids),
            **batch,
        }

    def _objects(self, items: Sequence[PretrainingItem]) -> dict[str, Any]:
        rows = torch.tensor([item.region_row for item in items])
        batch: dict[str, Any] = dict(self._regions.batch(rows))
        masked_features = batch["visual_feats"]
        is_object = batch["visual_attention_mask"].numpy() != 0
        chosen = np.zeros_like(is_object)
        if self._settings.objects is not None:
            counts = is_object.sum(axis=1).tolist()
            shape = (is_object.shape[1], _NUMBERS_PER_OBJECT)
            numbers = self._numbers(items, RandomStream.OBJECTS, shape, counts)
            chosen, blank, random = self._settings.objects.choose(is_object, numbers)
            masked_features = masked_features.clone()
            masked_features[torch.from_numpy(blank)] = 0.0
            donors = (numbers[random][:, 2] * len(self._dataset)).astype(np.int64)
            masked_features[torch.from_numpy(random)] = self._regions.gather_objects(
                torch.from_numpy(self._dataset.rows[donors].astype(np.int64)),
                torch.from_numpy(numbers[random][:, 3]),
            )
        targets = self._object_targets(rows, batch["visual_feats"], torch.from_numpy(chosen))
        batch["visual_feats"] = masked_features
        return batch | ({"obj_labels": targets} if targets else {})

    def _object_targets(
        self, rows: Tensor, features: Tensor, chosen: Tensor
    ) -> dict[str, tuple[Tensor, Tensor]]:
        wanted = self._settings.object_targets
        targets: dict[str, tuple[Tensor, Tensor]] = {}
        if self._object_labels is not None and {"obj", "attr"} & set(wanted):
            by_confidence = self._settings.object_label_loss == "all_confidence"
            labels = self._object_labels.batch(rows, features.shape[1], confidences=by_confidence)
            for name in ("obj", "attr"):
                if name in wanted:
                    ids, weights = labels[name]
                    targets[name] = (ids, weights if by_confidence else weights * chosen)
        if "feat" in wanted and self._settings.objects is not None:
            targets["feat"] = (features, chosen.to(torch.float32))
        return targets

    def _numbers(
        self,
        items: Sequence[PretrainingItem],
        stream: RandomStream,
        shape: tuple[int, int],
        used: Sequence[int],
    ) -> np.ndarray:
        """Random numbers (B, *shape), drawn for used rows only, so that padding changes nothing."""
        numbers: np.ndarray = np.ones((len(items), *shape))
        for row, (item, count) in enumerate(zip(items, used, strict=True)):
            generator = random_generator(self._settings.seed, item.draw, stream)
            numbers[row, :count] = generator.random((count, shape[1]))
        return numbers


def _rows(texts: Sequence[ImageText], regions: RegionSource) -> np.ndarray:
    """The region row of each text's image, (examples,) int32."""
    if not texts:
        raise DataError("there are no sentences to learn from")
    row_by_image = {image: regions.rows.get(image) for image in {text.image for text in texts}}
    missing = sorted(image for image, row in row_by_image.items() if row is None)
    if missing:
        raise DataError(
            f"{len(missing):,} of {len(row_by_image):,} images have no regions, starting with "
            f"{missing[0]}; add them to a feature store with `lxmert extract`"
        )
    return np.fromiter((row_by_image[text.image] for text in texts), np.int32, len(texts))
