"""The extractor of a saved processor: built when first needed, and found even if its folder was moved.

A description stored in a file names a model in the file's folder or next to it by a relative path that begins
with a dot, so that both can be moved together; one elsewhere by its absolute path, so that it is found from
any working folder. Other names keep their meaning: the embedded model, a hub name, or a folder relative to
the working folder.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxmert.errors import WeightsError
from lxmert.vision.build import build_extractor, check_spec
from lxmert.vision.extractor import RegionExtractor

_MODEL_KEYS = ("detector", "model")
"""Settings of extractors and encoders that name a model."""

_EMBEDDED = ("detector", "scenes")
"""The detector that ships in the package, even if a folder has its name."""

_INSIDE, _SIBLING = "./", "../"


@dataclass(frozen=True)
class SavedExtractor:
    """An extractor that is not built yet.

    Args:
        spec: its description, for `build_extractor`.
        origin: where the description comes from, for messages.
        identity: its identity when it was saved; None if that was not stored.

    Raises:
        ConfigurationError: no such kind of extractor, or settings that it does not have.
    """

    spec: Mapping[str, Any]
    origin: str
    identity: str | None = None

    def __post_init__(self) -> None:
        check_spec(self.spec)

    @property
    def name(self) -> str:
        """The kind of extractor."""
        return str(self.spec["kind"])

    def to_dict(self) -> dict[str, Any]:
        """Return the description, for `build_extractor`."""
        return dict(self.spec)

    def build(self) -> RegionExtractor:
        """Build the extractor.

        Raises:
            ConfigurationError: impossible settings.
            WeightsError: its model is not where the description says, or is a different one.
        """
        try:
            return build_extractor(self.spec)
        except WeightsError as error:
            raise type(error)(
                f"{error}. It is named in {self.origin} (paths that begin with a dot are relative to it, "
                "other folders to the current folder); correct it, or use another one (--detector, "
                "extractor=)"
            ) from error


def to_stored_model_paths(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a description for a file in `folder`, from one relative to the working folder."""

    def stored(name: str) -> str:
        if not Path(name).is_dir():
            return name
        path, home = Path(os.path.abspath(name)), Path(os.path.realpath(folder))
        # A link next to the folder is as good as a copy.
        path = Path(os.path.realpath(path.parent), path.name)
        if path.is_relative_to(home):
            return _INSIDE + path.relative_to(home).as_posix()
        return _SIBLING + path.name if path.parent == home.parent else str(path)

    return _map_model_names(spec, stored)


def from_stored_model_paths(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Undo `to_stored_model_paths`; a relative name that is not a folder is left as it is."""

    def resolved(name: str) -> str:
        # Relative to the real folder, whatever links lead to it.
        path = os.path.normpath(os.path.join(os.path.realpath(folder), name))
        return path if name.startswith((_INSIDE, _SIBLING)) and os.path.isdir(path) else name

    return _map_model_names(spec, resolved)


def local_model_folders(spec: Mapping[str, Any]) -> list[str]:
    """Return the models of a description that are local folders, which do not move with it."""
    folders: list[str] = []

    def collect(name: str) -> str:
        if Path(name).is_dir():
            folders.append(name)
        return name

    _map_model_names(spec, collect)
    return folders


def _map_model_names(spec: Mapping[str, Any], rename: Callable[[str], str]) -> dict[str, Any]:
    """Return a description with its models renamed, including that of an encoder."""
    renamed = dict(spec)
    for key, value in spec.items():
        if key == "encoder" and isinstance(value, Mapping):
            renamed[key] = _map_model_names(value, rename)
        elif key in _MODEL_KEYS and isinstance(value, str) and (key, value) != _EMBEDDED:
            renamed[key] = rename(value)
    return renamed
