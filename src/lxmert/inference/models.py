"""Names of models and answer tables, on the command line and in `LxmertPredictor.from_pretrained`.

A model is, in this order: the embedded one, a folder on disk, a repository of the Hugging Face hub. An answer
table is a file, or a published one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from lxmert.answers import validate_answers
from lxmert.data.answers import AnswerVocabulary
from lxmert.errors import WeightsError
from lxmert.faults import model_path_fault
from lxmert.weights.files import check_config
from lxmert.weights.hub import hub_folder, is_hub_name
from lxmert.weights.published import PUBLISHED_ANSWERS

EMBEDDED_MODEL = "scenes"
"""The name of the small model that ships inside the package."""


def embedded_model_folder() -> Path:
    """Return the folder of the embedded model: configuration, weights, vocabulary, answers, card."""
    return Path(str(files("lxmert") / "assets" / "scenes_vqa"))


def locate_model(name: str | Path) -> str:
    """Return the folder's path or hub name, for `from_pretrained`, of a model's name.

    Raises:
        WeightsError: the name is that of neither a model folder nor a hub repository.
    """
    if str(name) == EMBEDDED_MODEL:
        return str(embedded_model_folder())
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise WeightsError(f"{folder} is not a model folder: it has no config.json")
        return str(folder)
    if fault := model_path_fault(str(name)):
        raise WeightsError(fault)
    if isinstance(name, Path) or not is_hub_name(name) or "/" not in name:
        raise WeightsError(
            f"unknown model {str(name)!r}: expected '{EMBEDDED_MODEL}' (the embedded one), a folder, or a "
            "hub name 'owner/name'"
        )
    return str(name)


@dataclass(frozen=True)
class ModelLocation:
    """Where a model is.

    Attributes:
        name_or_path: the argument of `from_pretrained`: a folder's path or a hub name.
        folder: the folder with its files, which is in the hub's cache for a hub name.
    """

    name_or_path: str
    folder: Path

    @property
    def hub_options(self) -> dict[str, Any]:
        """Arguments that keep `from_pretrained` of `name_or_path` from asking the hub again."""
        return {} if self.folder == Path(self.name_or_path) else {"local_files_only": True}


def find_model(name: str | Path) -> ModelLocation:
    """Find a model.

    The hub is asked once, here: if it cannot be reached, each request costs seconds.

    Raises:
        WeightsError: no such model, or another kind of model, such as a detector.
    """
    name_or_path = locate_model(name)
    folder = Path(name_or_path)
    location = ModelLocation(name_or_path, folder if folder.is_dir() else hub_folder(name_or_path))
    check_config(location.folder)
    return location


def answer_table(answers: str | Path | Sequence[str]) -> list[str]:
    """Return answers in class order.

    Args:
        answers: "vqa" or "gqa" for the published tables, a JSON file in any published form, or the answers
            themselves.

    Raises:
        DataError: no such file, or not JSON.
        VocabularyError: a file or list that does not hold distinct strings.
        DownloadError: a published table that is not on this machine and cannot be downloaded.
    """
    if not isinstance(answers, str | Path):
        return validate_answers(answers)
    published = None if Path(answers).is_file() else PUBLISHED_ANSWERS.get(str(answers))
    return list(AnswerVocabulary.load(answers if published is None else published.fetch()))
