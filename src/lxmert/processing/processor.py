"""Pictures and words to batches, and scores to answers.

Words are cut by the tokenizer to at most 20 tokens, as in the paper (section 4.1 of the authors' code);
pictures become `Regions` by an extractor, or are handed over as ready `Regions`. Padding of objects is made
by `vision.padding`, nowhere else.

Shapes: B items of the batch, W tokens, O the most objects of any image, D features per object, C answers.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import BatchFeature

from lxmert.answers import ANSWERS_FILE, Answer, best_answers
from lxmert.errors import InputError, VocabularyError
from lxmert.processing.parts import ProcessorParts
from lxmert.texts import as_texts, check_counts, checked_length, encode_texts
from lxmert.tokenization.tensors import TENSORFLOW, in_tensorflow
from lxmert.vision.gathering import Boxes, Images, checked_regions, regions_of_images
from lxmert.vision.padding import pad_regions
from lxmert.vision.regions import Regions

_VISUAL_NAMES = ["visual_feats", "visual_pos", "visual_attention_mask"]


class LxmertProcessor(ProcessorParts):
    """Turns images and text into model inputs, and scores into answers.

    Args:
        tokenizer: an `LxmertTokenizer` or `LxmertTokenizerFast`.
        extractor: makes `Regions` of images, or its description (see `lxmert.vision.build_extractor`);
            None where only ready `Regions` or text are processed.
        answers: the answers in class order, or None; these too may be one of `weights.published`.
        max_text_length: tokens per text, special tokens included, at least 3.

    Raises:
        ConfigurationError: an extractor that is none, or a text length below 3.
        VocabularyError: answers that are not a list of different strings.
    """

    def __call__(
        self,
        images: Images | None = None,
        text: str | Sequence[str] | None = None,
        text_pair: str | Sequence[str] | None = None,
        *,
        boxes: Boxes | None = None,
        regions: Regions | Sequence[Regions] | None = None,
        max_length: int | None = None,
        padding: bool | str = True,
        truncation: bool | str = True,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """Make one batch.

        Args:
            images: one image or several, see `lxmert.vision.load_image` for what an image can be. One image
                with several texts is encoded once and serves all of them.
            text: one text or several.
            text_pair: a second sentence for each text.
            boxes: for each image (N, 4) x1, y1, x2, y2 in its pixels. Extractors that find objects by
                themselves need none; a detector then describes the given ones.
            regions: ready `Regions` instead of images.
            max_length: tokens per text for this call instead of `max_text_length`.
            padding: True to the longest text, "max_length" to `max_length`, False not at all. Always at the
                end of the text, whatever `padding_side` the tokenizer has.
            truncation: True cuts longer texts, False leaves them.
            return_tensors: "pt" for torch, "np" for NumPy, "tf" for TensorFlow, None for lists.

        Returns:
            With text `input_ids`, `attention_mask`, `token_type_ids`, each (B, W) int64; with images or
            regions `visual_feats` (B, O, D) float32, `visual_pos` (B, O, 4) float32 in 0..1 and
            `visual_attention_mask` (B, O) int64. Of TensorFlow, integers are int32. `model(**batch)` takes
            it, `.to(device)` moves it.

        Raises:
            TextError: a text that is empty, has no known word or none within `max_length`.
            ImageError: an image that cannot be read.
            RegionsError: boxes or regions that are malformed.
            InputError: nothing given, or counts that do not match.
            MissingExtraError: tensors of TensorFlow are asked for, which is not installed.
        """
        if return_tensors not in ("pt", "np", TENSORFLOW, None):
            raise InputError(f"return_tensors is {return_tensors!r}; expected 'pt', 'np', 'tf' or None")
        found = self._gather_regions(images, boxes, regions)
        texts, pairs = as_texts(text, "text"), as_texts(text_pair, "text_pair")
        check_counts(texts, pairs, None if found is None else len(found))
        batch: dict[str, Any] = {}
        if texts is not None:
            length = self.max_text_length if max_length is None else checked_length(max_length)
            settings = {"max_length": length, "padding": padding, "truncation": truncation}
            batch |= encode_texts(
                self.tokenizer, texts, pairs, tensors=return_tensors is not None, **settings
            )
        if found is not None:
            copies = len(texts) if texts is not None and len(found) == 1 else 1
            batch |= pad_regions(found * copies)
        if return_tensors in ("np", TENSORFLOW):
            batch = {name: torch.as_tensor(values).cpu().numpy() for name, values in batch.items()}
        elif return_tensors is None:
            batch = {name: v.tolist() if isinstance(v, Tensor) else v for name, v in batch.items()}
        features = BatchFeature(batch)
        if found is not None and return_tensors == "pt":
            features = features.to(found[0].device)
        return in_tensorflow(features) if return_tensors == TENSORFLOW else features

    def regions(self, images: Images, boxes: Boxes | None = None) -> list[Regions]:
        """The objects of each image, by this processor's extractor; see `lxmert.vision.gathering`."""
        return regions_of_images(self.extractor, images, boxes)

    def decode_answers(self, scores: Tensor, top_k: int = 1) -> list[list[Answer]]:
        """The best answers of each item.

        Args:
            scores: (B, C) or (C,), the `question_answering_score` of a model, any real numbers.
            top_k: how many answers each, at most C.

        Returns:
            For each of the B items its answers, the most probable first (softmax over all C).

        Raises:
            VocabularyError: the processor has no answers, or not as many as the scores.
            TensorError: scores of another shape, infinite, or NaN.
        """
        return best_answers(self.require_answers(), scores, top_k)

    def require_answers(self) -> list[str]:
        """The answers in class order.

        Raises:
            VocabularyError: the processor has none.
        """
        if self.answers is None:
            raise VocabularyError(
                "this processor has no answers, so scores cannot be put into words; "
                f"give answers=… (--answers FILE), or put {ANSWERS_FILE} into the model's folder"
            )
        return self.answers

    def _gather_regions(self, images: Any, boxes: Any, regions: Any) -> list[Regions] | None:
        if regions is None:
            if images is None and boxes is not None:
                raise InputError("boxes were given without images; give both, or ready regions=")
            return None if images is None else self.regions(images, boxes)
        if images is not None or boxes is not None:
            raise InputError(
                "regions are ready objects; give either regions=, or images= with boxes=, not both"
            )
        return checked_regions(regions)

    @property
    def model_input_names(self) -> list[str]:
        """Keys of a batch of images and text."""
        return ["input_ids", "attention_mask", "token_type_ids", *_VISUAL_NAMES]
