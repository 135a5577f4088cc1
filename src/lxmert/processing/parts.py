"""The parts of a processor, each loaded when first needed, and their files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Self

import torch
from transformers import ProcessorMixin
from transformers.utils import cached_file

from lxmert.answers import ANSWERS_FILE, read_answers, validate_answers, write_answers
from lxmert.downloads import PublishedFile
from lxmert.errors import ConfigurationError, InputError, first_line
from lxmert.faults import model_path_fault
from lxmert.texts import validate_max_length
from lxmert.tokenization import LxmertTokenizerFast
from lxmert.tokenization.backend import read_json_settings
from lxmert.vision.build import build_extractor
from lxmert.vision.extraction import as_extractor, move_extractor
from lxmert.vision.extractor import RegionExtractor
from lxmert.vision.saved_extractor import (
    SavedExtractor,
    from_stored_model_paths,
    local_model_folders,
    to_stored_model_paths,
)
from lxmert.weights.hub import HUB_ARGUMENTS, hub_folder, is_hub_name
from lxmert.weights.published import PublishedDetector, published_model

DEFAULT_TEXT_LENGTH = 20
"""Tokens per text, [CLS] and [SEP] included, as in the authors' training."""

_SETTING_NAMES = ("tokenizer", "extractor", "answers", "max_text_length")
_STORED_KEYS = {
    "extractor",
    "extractor_identity",
    "answers",
    "max_text_length",
    "processor_class",
    "auto_map",
}
# Extractors that are stored elsewhere and not built yet.
_UNBUILT_TYPES = (SavedExtractor, PublishedDetector)
_BUILD_LOCK = Lock()
"""Extractors are built once, by the first thread that needs them."""


class ProcessorParts(ProcessorMixin):
    """Tokenizer, extractor, answers and length of texts; for the arguments see `LxmertProcessor`."""

    def __init__(
        self,
        tokenizer: Any,
        extractor: RegionExtractor | SavedExtractor | PublishedDetector | Mapping[str, Any] | None = None,
        answers: Sequence[str] | PublishedFile | None = None,
        max_text_length: int = DEFAULT_TEXT_LENGTH,
    ) -> None:
        super().__init__(tokenizer)
        self._device: torch.device | str | None = None
        # Parts stored elsewhere are loaded when first needed, so that text alone needs no detector.
        self._extractor: RegionExtractor | SavedExtractor | PublishedDetector | None = (
            extractor if isinstance(extractor, _UNBUILT_TYPES) else as_extractor(extractor)
        )
        self._answers: list[str] | PublishedFile | None = (
            answers if answers is None or isinstance(answers, PublishedFile) else validate_answers(answers)
        )
        self.max_text_length = validate_max_length(max_text_length)

    @property
    def extractor(self) -> RegionExtractor | None:
        """The extractor of `Regions`; that of a saved processor is built when first needed.

        Raises:
            ConfigurationError: its saved settings are impossible.
            WeightsError: its network is not where the processor's folder says, or has changed.
        """
        with _BUILD_LOCK:
            stored = self._extractor
            if not isinstance(stored, _UNBUILT_TYPES):
                return stored
            extractor = (
                stored.build() if isinstance(stored, SavedExtractor) else build_extractor(stored.to_dict())
            )
            if self._device is not None:
                move_extractor(extractor, self._device)
            self._extractor = extractor
            return extractor

    @property
    def built_extractor(self) -> RegionExtractor | None:
        """The extractor if it is built; None as well for a saved one that nothing needed yet."""
        stored = self._extractor
        return None if isinstance(stored, _UNBUILT_TYPES) else stored

    def extractor_unless(self, identity: str) -> RegionExtractor | None:
        """The extractor, unless it is known to have this identity, then None.

        For a saved processor this is known without building the extractor.
        """
        stored = self._extractor
        return None if isinstance(stored, SavedExtractor) and stored.identity == identity else self.extractor

    @property
    def answers(self) -> list[str] | None:
        """The answers in class order."""
        if isinstance(self._answers, PublishedFile):
            self._answers = read_answers(self._answers.fetch())
        return self._answers

    def to(self, device: torch.device | str) -> Self:
        """Move the extractor's network, if it has one, to `device`; returns itself."""
        self._device = device
        if not isinstance(self._extractor, _UNBUILT_TYPES):
            move_extractor(self._extractor, device)
        return self

    def to_dict(self) -> dict[str, Any]:
        """The contents of processor_config.json; answers and tokenizer have files of their own."""
        extractor = self._extractor
        identity = getattr(extractor, "identity", None)
        return {
            "processor_class": type(self).__name__,
            "extractor": None if extractor is None else extractor.to_dict(),
            **({} if identity is None else {"extractor_identity": identity}),
            "answers": None if self._answers is None else ANSWERS_FILE,
            "max_text_length": self.max_text_length,
        }

    def to_json_file(self, json_file_path: str | Path) -> None:
        """Write `to_dict`, with the extractor in its stored form; see `lxmert.vision.saved_extractor`."""
        settings = self.to_dict()
        if settings["extractor"] is not None:
            settings["extractor"] = to_stored_model_paths(settings["extractor"], Path(json_file_path).parent)
        text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
        Path(json_file_path).write_text(text, encoding="utf-8")

    def __repr__(self) -> str:
        # Names what was not fetched yet: printing must not access the net.
        answers = self._answers
        extractor_name = getattr(self._extractor, "identity", None) or getattr(self._extractor, "name", None)
        count = answers.name if isinstance(answers, PublishedFile) else answers and len(answers)
        return (
            f"{type(self).__name__}(tokenizer={type(self.tokenizer).__name__}, extractor={extractor_name}, "
            f"answers={count}, max_text_length={self.max_text_length})"
        )

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any) -> Any:
        """Write processor_config.json, the tokenizer's files and, if there are answers, answers.json.

        With `push_to_hub` all of it is also uploaded to a repository of the hub, `repo_id` or the folder's
        name.

        Raises:
            ConfigurationError: the extractor cannot be described, or would be pushed though its model is on
                this machine only.
        """
        self.to_dict()  # An extractor that cannot be saved must fail before anything is written.
        folder = Path(save_directory)
        if push_to_hub:
            self._check_uploadable()
        folder.mkdir(parents=True, exist_ok=True)
        if self.answers is not None:
            write_answers(folder / ANSWERS_FILE, self.answers)
        written = super().save_pretrained(str(save_directory), **kwargs)
        if push_to_hub:  # Not in the mixin's way, which uploads only the files that it wrote itself.
            self.push_to_hub(kwargs.pop("repo_id", folder.name), **kwargs)
        return written

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:
        """Upload the files of `save_pretrained` to a repository of the hub.

        Raises:
            ConfigurationError: the extractor cannot be described, or its model is on this machine only.
        """
        self._check_uploadable()
        return super().push_to_hub(repo_id, **kwargs)

    def _check_uploadable(self) -> None:
        """Refuse to publish a description that names a model on this machine, which others cannot access."""
        spec = self.to_dict()["extractor"]
        if spec is not None and (names := local_model_folders(spec)):
            raise ConfigurationError(
                f"the extractor's model is {names[0]}, a folder on this machine that is not uploaded with "
                "it; move it into the folder of the processor and upload that folder (huggingface_hub's "
                "upload_folder), or upload it to a repository of its own and use that name"
            )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Self:
        """Load a processor from a folder or from the hub.

        A folder without processor_config.json has the defaults: no extractor, 20 tokens, and the answers of
        answers.json if there is one. For a published checkpoint, such as "unc-nlp/lxmert-vqa-uncased", what
        the hub lacks is filled in: the authors' answer table and detector.

        Args:
            pretrained_model_name_or_path: a folder, or the hub name of a model.
            **kwargs: `tokenizer`, `extractor`, `answers`, `max_text_length` replace what is stored; the rest
                (`revision`, `token`, `cache_dir`, `local_files_only`, `cls_token`, …) goes to the hub client
                and the tokenizer.

        Raises:
            InputError: no such folder, and not a possible hub name; or no processor in the folder.
            WeightsError: a hub name that is unknown, or out of reach and not in the cache. The extractor is
                loaded when first needed.
            VocabularyError: no vocabulary, or malformed answers.
            ConfigurationError: a malformed processor_config.json, or unknown settings in it.
        """
        name = str(pretrained_model_name_or_path)
        overrides = {key: kwargs.pop(key) for key in _SETTING_NAMES if key in kwargs}
        published = published_model(name)
        if not Path(name).is_dir():
            if fault := model_path_fault(name):
                raise InputError(fault)
            if not is_hub_name(name):
                raise InputError(f"{name}: neither a model folder nor a hub name; check the path")
            options = {key: kwargs.pop(key) for key in HUB_ARGUMENTS & kwargs.keys()}
            name = str(hub_folder(name, options, weights=False))
        try:
            tokenizer = overrides.pop("tokenizer", None) or LxmertTokenizerFast.from_pretrained(
                name, **kwargs
            )
            settings, _ = cls.get_processor_dict(name, **kwargs)
        except OSError as error:
            raise InputError(
                f"{name}: no processor can be loaded from this folder ({first_line(error)})"
            ) from error
        stored = {key: value for key, value in settings.items() if key in _SETTING_NAMES}
        if published is not None:
            stored = published.fill_missing(stored)
        merged = stored | overrides
        if "extractor" not in overrides and isinstance(merged.get("extractor"), Mapping):
            origin = f"processor_config.json of {pretrained_model_name_or_path}"
            merged["extractor"] = SavedExtractor(
                merged["extractor"], origin, settings.get("extractor_identity")
            )
        return cls(tokenizer, **merged)

    @classmethod
    def get_processor_dict(
        cls, pretrained_model_name_or_path: str | Path, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The stored settings, including answers, and the unused arguments."""
        name = str(pretrained_model_name_or_path)
        hub = {key: kwargs[key] for key in HUB_ARGUMENTS if key in kwargs}
        file = cached_file(name, "processor_config.json", _raise_exceptions_for_missing_entries=False, **hub)
        if file is not None:
            _check_known_keys(file, read_json_settings(file))
        settings, unused = super().get_processor_dict(name, **kwargs)
        if file is not None and isinstance(settings.get("extractor"), Mapping):
            settings["extractor"] = from_stored_model_paths(settings["extractor"], Path(file).parent)
        if settings.get("answers", ANSWERS_FILE) is not None:
            path = cached_file(name, ANSWERS_FILE, _raise_exceptions_for_missing_entries=False, **hub)
            settings["answers"] = None if path is None else read_answers(path)
        return settings, unused


def _check_known_keys(file: str, settings: dict[str, Any]) -> None:
    unknown = settings.keys() - _STORED_KEYS
    if unknown:
        raise ConfigurationError(
            f"{file}: unknown settings {', '.join(sorted(unknown))}; "
            f"expected some of {', '.join(sorted(_STORED_KEYS))}"
        )
