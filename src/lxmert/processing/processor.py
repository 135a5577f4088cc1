"""Pictures and text to batches, and scores to answers.

Text is truncated by the tokenizer to at most 20 tokens, as in the paper (section 4.1 of the authors' code);
`Regions` of pictures come from an extractor, or are passed in. Objects are padded by `vision.padding`,
nowhere else.

Shapes: B items of the batch, W tokens, O the largest number of objects of an image, D features, C answers.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import BatchFeature

from lxmert.answers import ANSWERS_FILE, Answer, best_answers
from lxmert.errors import InputError, VocabularyError
from lxmert.processing.parts import ProcessorParts
from lxmert.texts import as_texts, check_batch_sizes, encode_texts, validate_max_length
from lxmert.tokenization.tensors import TENSORFLOW, to_tensorflow
from lxmert.vision.extraction import Boxes, Images, as_regions_list, extract_regions
from lxmert.vision.padding import pad_regions
from lxmert.vision.regions import Regions

_VISUAL_NAMES = ["visual_feats", "visual_pos", "visual_attention_mask"]


class LxmertProcessor(ProcessorParts):
    """Turns images and text into model inputs, and scores into answers.

    Args:
        tokenizer: an `LxmertTokenizer` or `LxmertTokenizerFast`.
        extractor: makes `Regions` of images, or its description (see `lxmert.vision.build_extractor`);
            None if only existing `Regions` or text are processed.
        answers: the answers in class order, or None; they may also be one of `weights.published`.
        max_text_length: tokens per text, special tokens included, at least 3.

    Raises:
        ConfigurationError: an invalid extractor, or a text length below 3.
        VocabularyError: answers that are not a list of distinct strings.
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
                with several texts is encoded once for all of them.
            text: one text or several.
            text_pair: a second sentence for each text.
            boxes: for each image (N, 4) x1, y1, x2, y2 in its pixels. Extractors that find objects
                themselves need none; with boxes, a detector describes those.
            regions: existing `Regions` instead of images.
            max_length: tokens per text for this call instead of `max_text_length`.
            padding: True pads to the longest text, "max_length" to `max_length`, False not at all. Always at
                the end of the text, whatever the tokenizer's `padding_side`.
            truncation: True truncates longer texts, False does not.
            return_tensors: "pt" for torch, "np" for NumPy, "tf" for TensorFlow, None for lists.

        Returns:
            With text `input_ids`, `attention_mask`, `token_type_ids`, each (B, W) int64; with images or
            regions `visual_feats` (B, O, D) float32, `visual_pos` (B, O, 4) float32 in 0..1 and
            `visual_attention_mask` (B, O) int64. With "tf", integers are int32. Pass it as
            `model(**batch)`, move it by `.to(device)`.

        Raises:
            TextError: a text that is empty, has no known word or none within `max_length`.
            ImageError: an image that cannot be read.
            RegionsError: boxes or regions that are malformed.
            InputError: nothing given, or counts that do not match.
            MissingExtraError: "tf" without TensorFlow installed.
        """
        if return_tensors not in ("pt", "np", TENSORFLOW, None):
            raise InputError(f"return_tensors is {return_tensors!r}; expected 'pt', 'np', 'tf' or None")
        all_regions = self._gather_regions(images, boxes, regions)
        texts, pairs = as_texts(text, "text"), as_texts(text_pair, "text_pair")
        check_batch_sizes(texts, pairs, None if all_regions is None else len(all_regions))
        batch: dict[str, Any] = {}
        if texts is not None:
            length = self.max_text_length if max_length is None else validate_max_length(max_length)
            settings = {"max_length": length, "padding": padding, "truncation": truncation}
            batch |= encode_texts(
                self.tokenizer, texts, pairs, tensors=return_tensors is not None, **settings
            )
        if all_regions is not None:
            copies = len(texts) if texts is not None and len(all_regions) == 1 else 1
            batch |= pad_regions(all_regions * copies)
        if return_tensors in ("np", TENSORFLOW):
            batch = {name: torch.as_tensor(values).cpu().numpy() for name, values in batch.items()}
        elif return_tensors is None:
            batch = {name: v.tolist() if isinstance(v, Tensor) else v for name, v in batch.items()}
        features = BatchFeature(batch)
        if all_regions is not None and return_tensors == "pt":
            features = features.to(all_regions[0].device)
        return to_tensorflow(features) if return_tensors == TENSORFLOW else features

    def regions(self, images: Images, boxes: Boxes | None = None) -> list[Regions]:
        """The objects of each image, by this processor's extractor; see `lxmert.vision.extraction`."""
        return extract_regions(self.extractor, images, boxes)

    def decode_answers(self, scores: Tensor, top_k: int = 1) -> list[list[Answer]]:
        """The best answers of each item.

        Args:
            scores: (B, C) or (C,), the `question_answering_score` of a model, any real numbers.
            top_k: number of answers each, at most C.

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
                "this processor has no answers, so scores cannot be turned into answers; pass answers=… "
                f"(--answers FILE), or put {ANSWERS_FILE} into the model's folder"
            )
        return self.answers

    def _gather_regions(self, images: Any, boxes: Any, regions: Any) -> list[Regions] | None:
        if regions is None:
            if images is None and boxes is not None:
                raise InputError("boxes were given without images; pass both, or regions=")
            return None if images is None else self.regions(images, boxes)
        if images is not None or boxes is not None:
            raise InputError(
                "regions already contain objects; pass either regions=, or images= with boxes=, not both"
            )
        return as_regions_list(regions)

    @property
    def model_input_names(self) -> list[str]:
        """Keys of a batch of images and text."""
        return ["input_ids", "attention_mask", "token_type_ids", *_VISUAL_NAMES]
