"""Where a model named on the command line or in `LxmertPredictor.from_pretrained` lies.

A name is, in this order: the embedded model, a folder on disk, a repository of the Hugging Face hub.
"""

import re
from importlib.resources import files
from pathlib import Path

from lxmert.errors import WeightsError

EMBEDDED_MODEL = "scenes"
"""The name of the small model that ships inside the package."""

_HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")


def embedded_model_folder() -> Path:
    """The folder of the embedded model: configuration, weights, vocabulary, answers, card."""
    return Path(str(files("lxmert") / "assets" / "scenes_vqa"))


def locate_model(name: str | Path) -> str:
    """Turn a model's name into what `from_pretrained` takes: a folder's path or a hub name.

    Raises:
        WeightsError: the name is a path that holds no model.
    """
    if str(name) == EMBEDDED_MODEL:
        return str(embedded_model_folder())
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise WeightsError(f"{folder} is not a model folder: it holds no config.json")
        return str(folder)
    if folder.exists():
        raise WeightsError(
            f"{folder} is a file, a model is a folder; turn an original .pth with `lxmert convert`"
        )
    if isinstance(name, Path) or not _HUB_NAME.match(name) or name.count("/") != 1:
        raise WeightsError(
            f"no model {str(name)!r}: neither '{EMBEDDED_MODEL}' (the embedded one), nor a folder, "
            "nor a hub name 'owner/name'"
        )
    return str(name)
