"""The extractor of a saved processor: made when it is first needed, found where its folder has gone.

A description that is kept in a file names a model that lies in the file's folder or beside it from there,
with a dot in front, so that both can be moved together; one that lies elsewhere by its whole path, so that it
is found from wherever a command runs. Other names are as ever: of the embedded model, of the hub, or of a
folder as seen from where the command runs.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxmert.errors import WeightsError
from lxmert.vision.build import build_extractor, check_description
from lxmert.vision.extractor import RegionExtractor

_NAMES = ("detector", "model")
"""Settings of extractors and encoders that name a model."""

_EMBEDDED = ("detector", "scenes")
"""The detector that ships in the package, whatever folder has its name."""

_HERE, _BESIDE = "./", "../"


@dataclass(frozen=True)
class SavedExtractor:
    """An extractor that is not made yet.

    Args:
        spec: its description, as `build_extractor` takes it.
        origin: what holds the description, for messages.
        identity: what it was known by when it was saved; None where that was not kept.

    Raises:
        ConfigurationError: no such kind of extractor, or settings that it does not have.
    """

    spec: Mapping[str, Any]
    origin: str
    identity: str | None = None

    def __post_init__(self) -> None:
        check_description(self.spec)

    @property
    def name(self) -> str:
        """The kind of extractor."""
        return str(self.spec["kind"])

    def to_dict(self) -> dict[str, Any]:
        """What `build_extractor` makes the extractor of."""
        return dict(self.spec)

    def build(self) -> RegionExtractor:
        """The extractor.

        Raises:
            ConfigurationError: impossible settings.
            WeightsError: its model is not where the description says, or is another.
        """
        try:
            return build_extractor(self.spec)
        except WeightsError as error:
            raise type(error)(
                f"{error}. It is named in {self.origin} (names that begin with a dot count from there, other "
                "folders from where the command runs); correct it, or give another one (--detector, "
                "extractor=)"
            ) from error


def as_kept(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A description as a file in `folder` keeps it; its models are found from where the command runs."""

    def kept(name: str) -> str:
        if not Path(name).is_dir():
            return name
        path, home = Path(os.path.abspath(name)), Path(os.path.realpath(folder))
        # A link beside the folder is as good as a copy.
        path = Path(os.path.realpath(path.parent), path.name)
        if path.is_relative_to(home):
            return _HERE + path.relative_to(home).as_posix()
        return _BESIDE + path.name if path.parent == home.parent else str(path)

    return _renamed(spec, kept)


def as_found(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The inverse of `as_kept`; a name that leads to no folder from there stays as it is."""

    def found(name: str) -> str:
        # From where the folder really is, whatever links lead to it.
        path = os.path.normpath(os.path.join(os.path.realpath(folder), name))
        return path if name.startswith((_HERE, _BESIDE)) and os.path.isdir(path) else name

    return _renamed(spec, found)


def left_behind(spec: Mapping[str, Any]) -> list[str]:
    """The models of a description that lie on this machine, and do not travel with it."""
    found: list[str] = []

    def noted(name: str) -> str:
        if Path(name).is_dir():
            found.append(name)
        return name

    _renamed(spec, noted)
    return found


def _renamed(spec: Mapping[str, Any], rename: Callable[[str], str]) -> dict[str, Any]:
    """A description with its models, that of an encoder too, renamed."""
    renamed = dict(spec)
    for key, value in spec.items():
        if key == "encoder" and isinstance(value, Mapping):
            renamed[key] = _renamed(value, rename)
        elif key in _NAMES and isinstance(value, str) and (key, value) != _EMBEDDED:
            renamed[key] = rename(value)
    return renamed
