"""`LxmertProcessor`: pictures and words -> the batch that every LXMERT model takes as it is.

Words are cut by the tokenizer to at most 20 tokens, as in the paper (section 4.1 of the authors' code);
pictures become `Regions` by an extractor, or are handed over as ready `Regions`. Padding of objects is made
by `vision.padding`, nowhere else.

Shapes: B items of the batch, W tokens, O the most objects of any image, D features per object, C answers.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers import BatchFeature, ProcessorMixin
from transformers.utils import cached_file

from lxmert.answers import ANSWERS_FILE, Answer, best_answers, checked_answers, read_answers, write_answers
from lxmert.downloads import PublishedFile
from lxmert.errors import ConfigurationError, InputError, VocabularyError, first_line
from lxmert.texts import as_texts, check_counts, checked_length, encode_texts
from lxmert.tokenization import LxmertTokenizerFast
from lxmert.tokenization.backend import read_settings
from lxmert.tokenization.tensors import TENSORFLOW, in_tensorflow
from lxmert.vision.build import build_extractor
from lxmert.vision.extractor import RegionExtractor
from lxmert.vision.gathering import Boxes, Images, as_extractor, checked_regions, move, regions_of_images
from lxmert.vision.padding import pad_regions
from lxmert.vision.regions import Regions
from lxmert.vision.saved_extractor import SavedExtractor, as_found, as_kept, left_behind
from lxmert.weights.hub import HUB_ARGUMENTS, hub_folder_with, is_hub_name
from lxmert.weights.published import PublishedDetector, published_model

DEFAULT_TEXT_LENGTH = 20
"""Tokens per text, [CLS] and [SEP] included: what the authors trained with."""

_VISUAL_NAMES = ["visual_feats", "visual_pos", "visual_attention_mask"]
_OWN_SETTINGS = ("tokenizer", "extractor", "answers", "max_text_length")
_STORED = {"extractor", "extractor_identity", "answers", "max_text_length", "processor_class", "auto_map"}
# Extractors that are kept elsewhere and not made yet.
_NOT_MADE = (SavedExtractor, PublishedDetector)


class LxmertProcessor(ProcessorMixin):
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

    def __init__(
        self,
        tokenizer: Any,
        extractor: RegionExtractor | SavedExtractor | PublishedDetector | Mapping[str, Any] | None = None,
        answers: Sequence[str] | PublishedFile | None = None,
        max_text_length: int = DEFAULT_TEXT_LENGTH,
    ) -> None:
        super().__init__(tokenizer)
        self._device: torch.device | str | None = None
        # What is kept elsewhere is loaded when first asked for, so that text alone needs no detector.
        self._extractor: RegionExtractor | SavedExtractor | PublishedDetector | None = (
            extractor if isinstance(extractor, _NOT_MADE) else as_extractor(extractor)
        )
        self._answers: list[str] | PublishedFile | None = (
            answers if answers is None or isinstance(answers, PublishedFile) else checked_answers(answers)
        )
        self.max_text_length = checked_length(max_text_length)

    @property
    def extractor(self) -> RegionExtractor | None:
        """What makes `Regions` of images; that of a saved processor is made when first asked for.

        Raises:
            ConfigurationError: its saved settings are impossible.
            WeightsError: its network is not where the processor's folder says, or is another.
        """
        kept = self._extractor
        if not isinstance(kept, _NOT_MADE):
            return kept
        made = kept.build() if isinstance(kept, SavedExtractor) else build_extractor(kept.to_dict())
        if self._device is not None:
            move(made, self._device)
        self._extractor = made
        return made

    def extractor_unless(self, identity: str) -> RegionExtractor | None:
        """The extractor, to be compared with what made features; None if it is known to be what made them.

        A saved processor knows without making it.
        """
        kept = self._extractor
        return None if isinstance(kept, SavedExtractor) and kept.identity == identity else self.extractor

    @property
    def answers(self) -> list[str] | None:
        """The answers in class order."""
        if isinstance(self._answers, PublishedFile):
            self._answers = read_answers(self._answers.fetch())
        return self._answers

    def to(self, device: torch.device | str) -> Self:
        """Have the extractor's network, where it has one, run on `device`; returns itself."""
        self._device = device
        if not isinstance(self._extractor, _NOT_MADE):
            move(self._extractor, device)
        return self

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

    def to_dict(self) -> dict[str, Any]:
        """What processor_config.json holds; answers and words have files of their own."""
        kept = self._extractor
        identity = getattr(kept, "identity", None)
        return {
            "processor_class": type(self).__name__,
            "extractor": None if kept is None else kept.to_dict(),
            **({} if identity is None else {"extractor_identity": identity}),
            "answers": None if self._answers is None else ANSWERS_FILE,
            "max_text_length": self.max_text_length,
        }

    def to_json_file(self, json_file_path: str | Path) -> None:
        """Write `to_dict`, its extractor as a file keeps it; see `lxmert.vision.saved_extractor`."""
        settings = self.to_dict()
        if settings["extractor"] is not None:
            settings["extractor"] = as_kept(settings["extractor"], Path(json_file_path).parent)
        text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
        Path(json_file_path).write_text(text, encoding="utf-8")

    def __repr__(self) -> str:
        # What was not fetched yet is named: printing must not reach for the net.
        answers = self._answers
        shown = getattr(self._extractor, "identity", None) or getattr(self._extractor, "name", None)
        count = answers.name if isinstance(answers, PublishedFile) else answers and len(answers)
        return (
            f"{type(self).__name__}(tokenizer={type(self.tokenizer).__name__}, extractor={shown}, "
            f"answers={count}, max_text_length={self.max_text_length})"
        )

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any) -> Any:
        """Write processor_config.json, the tokenizer's files and, where there are answers, answers.json.

        Raises:
            ConfigurationError: the extractor cannot be described, or is to be pushed and its model lies
                elsewhere on this machine.
        """
        self.to_dict()  # An extractor that cannot be saved must fail before anything is written.
        folder = Path(save_directory)
        if push_to_hub:
            self._refuse_left_behind(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if self.answers is not None:
            write_answers(folder / ANSWERS_FILE, self.answers)
        return super().save_pretrained(str(save_directory), push_to_hub=push_to_hub, **kwargs)

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:
        """Send what `save_pretrained` writes to a repository of the hub.

        Raises:
            ConfigurationError: the extractor cannot be described, or its model lies on this machine.
        """
        self._refuse_left_behind(None)
        return super().push_to_hub(repo_id, **kwargs)

    def _refuse_left_behind(self, folder: Path | None) -> None:
        """Refuse to publish a description that names a model on this machine, where nobody else finds it."""
        spec = self.to_dict()["extractor"]
        if spec is not None and (names := left_behind(spec, folder)):
            raise ConfigurationError(
                f"the extractor's model is {names[0]}, a folder of this machine that is not sent along; keep "
                "it in the folder of the processor and send that whole (huggingface_hub's upload_folder), or "
                "send it to a repository of its own and name that"
            )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Self:
        """Load a processor from a folder or from the hub.

        A folder without processor_config.json gives the defaults: no extractor, 20 tokens, and the answers of
        answers.json where there is one. Of a published checkpoint, such as "unc-nlp/lxmert-vqa-uncased", what
        the hub lacks is filled in: the authors' answer table and detector.

        Args:
            pretrained_model_name_or_path: a folder, or the hub name of a model.
            **kwargs: `tokenizer`, `extractor`, `answers`, `max_text_length` replace what is stored; the rest
                (`revision`, `token`, `cache_dir`, `local_files_only`, `cls_token`, …) goes to the hub client
                and the tokenizer.

        Raises:
            InputError: no such folder, and no name that the hub could have; or no processor in the folder.
            WeightsError: a hub name that is unknown, or out of reach and not in the cache. The extractor is
                loaded when it is first asked for.
            VocabularyError: no vocabulary there, or malformed answers.
            ConfigurationError: a malformed processor_config.json, or unknown settings in it.
        """
        name = str(pretrained_model_name_or_path)
        own = {key: kwargs.pop(key) for key in _OWN_SETTINGS if key in kwargs}
        published = published_model(name)
        if not Path(name).is_dir():
            if not is_hub_name(name):
                raise InputError(
                    f"{name}: no such model folder, and no name of the hub either; check the path"
                )
            options = {key: kwargs.pop(key) for key in HUB_ARGUMENTS & kwargs.keys()}
            name = str(hub_folder_with(name, options, weights=False))
        try:
            tokenizer = own.pop("tokenizer", None) or LxmertTokenizerFast.from_pretrained(name, **kwargs)
            settings, _ = cls.get_processor_dict(name, **kwargs)
        except OSError as error:
            raise InputError(
                f"{name}: no processor can be loaded from this folder ({first_line(error)})"
            ) from error
        known = {key: value for key, value in settings.items() if key in _OWN_SETTINGS}
        if published is not None:
            known = published.completed(known)
        merged = known | own
        if "extractor" not in own and isinstance(merged.get("extractor"), Mapping):
            origin = f"processor_config.json of {pretrained_model_name_or_path}"
            merged["extractor"] = SavedExtractor(
                merged["extractor"], origin, settings.get("extractor_identity")
            )
        return cls(tokenizer, **merged)

    @classmethod
    def get_processor_dict(
        cls, pretrained_model_name_or_path: str | Path, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The stored settings, answers included, and the arguments that are left over."""
        name = str(pretrained_model_name_or_path)
        hub = {key: kwargs[key] for key in HUB_ARGUMENTS if key in kwargs}
        file = cached_file(name, "processor_config.json", _raise_exceptions_for_missing_entries=False, **hub)
        if file is not None:
            _check_stored(file, read_settings(file))
        settings, unused = super().get_processor_dict(name, **kwargs)
        if file is not None and isinstance(settings.get("extractor"), Mapping):
            settings["extractor"] = as_found(settings["extractor"], Path(file).parent)
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
