"""`LxmertProcessor`: pictures and words -> the batch that every LXMERT model takes as it is.

Words are cut by the tokenizer to at most 20 tokens, as in the paper (section 4.1 of the authors' code);
pictures become `Regions` by an extractor, or are handed over as ready `Regions`. Padding of objects is made
by `vision.padding`, nowhere else.

Shapes: B items of the batch, W tokens, O the most objects of any image, D features per object, C answers.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers import BatchFeature, ProcessorMixin
from transformers.utils import cached_file

from lxmert.answers import ANSWERS_FILE, Answer, best_answers, checked_answers, read_answers, write_answers
from lxmert.errors import ConfigurationError, InputError, RegionsError, VocabularyError
from lxmert.texts import as_texts, check_counts, checked_length, encode_texts
from lxmert.tokenization import LxmertTokenizerFast
from lxmert.tokenization.backend import read_settings
from lxmert.vision.build import build_extractor
from lxmert.vision.extractor import RegionExtractor
from lxmert.vision.geometry import BoxesLike, as_boxes_list
from lxmert.vision.images import ImageSource, as_image_list, load_images
from lxmert.vision.padding import pad_regions
from lxmert.vision.regions import Regions

DEFAULT_TEXT_LENGTH = 20
"""Tokens per text, [CLS] and [SEP] included: what the authors trained with."""

_VISUAL_NAMES = ["visual_feats", "visual_pos", "visual_attention_mask"]
_OWN_SETTINGS = ("tokenizer", "extractor", "answers", "max_text_length")
_STORED = {"extractor", "answers", "max_text_length", "processor_class", "auto_map"}
_HUB_ARGUMENTS = {"cache_dir", "force_download", "local_files_only", "proxies"}
_HUB_ARGUMENTS |= {"revision", "subfolder", "token"}
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


class LxmertProcessor(ProcessorMixin):
    """Turns images and text into model inputs, and scores into answers.

    Args:
        tokenizer: an `LxmertTokenizer` or `LxmertTokenizerFast`.
        extractor: makes `Regions` of images, or its description (see `lxmert.vision.build_extractor`);
            None where only ready `Regions` or text are processed.
        answers: the answers in class order, or None.
        max_text_length: tokens per text, special tokens included, at least 3.

    Raises:
        ConfigurationError: an extractor that is none, or a text length below 3.
        VocabularyError: answers that are not a list of different strings.
    """

    def __init__(
        self,
        tokenizer: Any,
        extractor: RegionExtractor | Mapping[str, Any] | None = None,
        answers: Sequence[str] | None = None,
        max_text_length: int = DEFAULT_TEXT_LENGTH,
    ) -> None:
        super().__init__(tokenizer)
        built = build_extractor(extractor) if isinstance(extractor, Mapping) else extractor
        if built is not None and not isinstance(built, RegionExtractor):
            raise ConfigurationError(
                f"extractor is a {type(built).__name__}; expected a region extractor such as GivenBoxes"
            )
        self.extractor: RegionExtractor | None = built
        self.answers = None if answers is None else checked_answers(answers)
        self.max_text_length = checked_length(max_text_length)

    def __call__(
        self,
        images: ImageSource | Sequence[ImageSource] | None = None,
        text: str | Sequence[str] | None = None,
        text_pair: str | Sequence[str] | None = None,
        *,
        boxes: BoxesLike | Sequence[BoxesLike] | None = None,
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
            boxes: for each image (N, 4) x1, y1, x2, y2 in its pixels, for extractors that need them.
            regions: ready `Regions` instead of images.
            max_length: tokens per text for this call instead of `max_text_length`.
            padding: True to the longest text, "max_length" to `max_length`, False not at all.
            truncation: True cuts longer texts, False leaves them.
            return_tensors: "pt" for torch, "np" for NumPy, None for lists.

        Returns:
            With text `input_ids`, `attention_mask`, `token_type_ids`, each (B, W) int64; with images or
            regions `visual_feats` (B, O, D) float32, `visual_pos` (B, O, 4) float32 in 0..1 and
            `visual_attention_mask` (B, O) int64. `model(**batch)` takes it, `.to(device)` moves it.

        Raises:
            TextError: a text that is empty, has no known word or none within `max_length`.
            ImageError: an image that cannot be read.
            RegionsError: boxes or regions that are malformed.
            InputError: nothing given, or counts that do not match.
        """
        if return_tensors not in ("pt", "np", None):
            raise InputError(f"return_tensors is {return_tensors!r}; expected 'pt', 'np' or None")
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
        if return_tensors == "np":
            batch = {name: torch.as_tensor(values).cpu().numpy() for name, values in batch.items()}
        elif return_tensors is None:
            batch = {name: v.tolist() if isinstance(v, Tensor) else v for name, v in batch.items()}
        features = BatchFeature(batch)
        if found is not None and return_tensors == "pt":
            features = features.to(found[0].device)
        return features

    def regions(
        self,
        images: ImageSource | Sequence[ImageSource],
        boxes: BoxesLike | Sequence[BoxesLike] | None = None,
    ) -> list[Regions]:
        """The objects of each image, by this processor's extractor.

        Args:
            images: one image or several.
            boxes: for each image (N, 4) x1, y1, x2, y2 in its pixels, for extractors that need them.

        Raises:
            InputError: no extractor, or an extractor that needs boxes and got none.
            ImageError: an image that cannot be read.
            RegionsError: a box that is not inside its image.
        """
        if self.extractor is None:
            raise InputError(
                "this processor has no extractor, so it cannot look at images; "
                "give LxmertProcessor an extractor=…, or call it with regions=… made elsewhere"
            )
        sources = as_image_list(images)
        if boxes is None and self.extractor.needs_boxes:
            raise RegionsError(
                f"the extractor {self.extractor.identity} does not find objects by itself; "
                f"give boxes=, x1, y1, x2, y2 in pixels for each image (--boxes FILE on the command line)"
            )
        given = None if boxes is None else as_boxes_list(boxes, len(sources))
        return self.extractor(load_images(sources), given)

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
        if self.answers is None:
            raise VocabularyError(
                "this processor has no answers, so scores cannot be put into words; "
                f"give LxmertProcessor answers=…, or put {ANSWERS_FILE} into the model's folder"
            )
        return best_answers(self.answers, scores, top_k)

    def _gather_regions(
        self, images: Any, boxes: Any, regions: Regions | Sequence[Regions] | None
    ) -> list[Regions] | None:
        if regions is None:
            if images is None and boxes is not None:
                raise InputError("boxes were given without images; give both, or ready regions=")
            return None if images is None else self.regions(images, boxes)
        if images is not None or boxes is not None:
            raise InputError(
                "regions are ready objects; give either regions=, or images= with boxes=, not both"
            )
        found = [regions] if isinstance(regions, Regions) else list(regions)
        if not found or not all(isinstance(one, Regions) for one in found):
            raise RegionsError("regions must be a `Regions` or a list of them, one for each image")
        return found

    @property
    def model_input_names(self) -> list[str]:
        """Keys of a batch of images and text."""
        return ["input_ids", "attention_mask", "token_type_ids", *_VISUAL_NAMES]

    def to_dict(self) -> dict[str, Any]:
        """What processor_config.json holds; answers and words have files of their own."""
        return {
            "processor_class": type(self).__name__,
            "extractor": None if self.extractor is None else self.extractor.to_dict(),
            "answers": None if self.answers is None else ANSWERS_FILE,
            "max_text_length": self.max_text_length,
        }

    def __repr__(self) -> str:
        extractor = None if self.extractor is None else self.extractor.identity
        answers = None if self.answers is None else len(self.answers)
        return (
            f"{type(self).__name__}(tokenizer={type(self.tokenizer).__name__}, extractor={extractor}, "
            f"answers={answers}, max_text_length={self.max_text_length})"
        )

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any) -> Any:
        """Write processor_config.json, the tokenizer's files and, where there are answers, answers.json."""
        self.to_dict()  # An extractor that cannot be saved must fail before anything is written.
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        if self.answers is not None:
            write_answers(folder / ANSWERS_FILE, self.answers)
        return super().save_pretrained(str(save_directory), push_to_hub=push_to_hub, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Self:
        """Load a processor from a folder or from the hub.

        A folder without processor_config.json, as the published checkpoints are, gives the defaults: no
        extractor, 20 tokens, and the answers of answers.json where there is one.

        Args:
            pretrained_model_name_or_path: a folder, or the hub name of a model.
            **kwargs: `tokenizer`, `extractor`, `answers`, `max_text_length` replace what is stored; the rest
                (`revision`, `token`, `cache_dir`, `local_files_only`, `cls_token`, …) goes to the hub client
                and the tokenizer.

        Raises:
            InputError: no such folder, and no such name on the hub.
            VocabularyError: no vocabulary there, or malformed answers.
            ConfigurationError: a malformed processor_config.json, or unknown settings in it.
        """
        name = str(pretrained_model_name_or_path)
        own = {key: kwargs.pop(key) for key in _OWN_SETTINGS if key in kwargs}
        if not Path(name).is_dir() and not _HUB_NAME.fullmatch(name):
            raise InputError(f"{name}: no such model folder, and no name of the hub either; check the path")
        try:
            tokenizer = own.pop("tokenizer", None) or LxmertTokenizerFast.from_pretrained(name, **kwargs)
            settings, _ = cls.get_processor_dict(name, **kwargs)
        except (OSError, VocabularyError) as error:
            if isinstance(error, VocabularyError) and Path(name).is_dir():
                raise
            where = "folder" if Path(name).is_dir() else "name: no such folder, and not found on the hub"
            raise InputError(
                f"{name}: no processor can be loaded from this {where} ({_first_line(error)})"
            ) from error
        known = {key: value for key, value in settings.items() if key in _OWN_SETTINGS}
        return cls(tokenizer, **(known | own))

    @classmethod
    def get_processor_dict(
        cls, pretrained_model_name_or_path: str | Path, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The stored settings, answers included, and the arguments that are left over."""
        name = str(pretrained_model_name_or_path)
        hub = {key: kwargs[key] for key in _HUB_ARGUMENTS if key in kwargs}
        file = cached_file(name, "processor_config.json", _raise_exceptions_for_missing_entries=False, **hub)
        if file is not None:
            _check_stored(file, read_settings(file))
        settings, unused = super().get_processor_dict(name, **kwargs)
        if settings.get("answers", ANSWERS_FILE) is not None:
            path = cached_file(name, ANSWERS_FILE, _raise_exceptions_for_missing_entries=False, **hub)
            settings["answers"] = None if path is None else read_answers(path)
        return settings, unused


def _check_stored(file: str, settings: dict[str, Any]) -> None:
    unknown = settings.keys() - _STORED
    if unknown:
        raise ConfigurationError(
            f"{file}: unknown settings {', '.join(sorted(unknown))}; "
            f"expected some of {', '.join(sorted(_STORED))}"
        )


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
