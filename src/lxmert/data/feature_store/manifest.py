"""`manifest.json` of a feature store: format, width and dtype of the features, and their extractor."""

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from lxmert._version import __version__
from lxmert.atomic_files import fsync_folder
from lxmert.data.feature_store.layout import DTYPES, FORMAT_NAME, FORMAT_VERSION
from lxmert.data.json_files import JsonRecord, read_json
from lxmert.errors import DataError
from lxmert.faults import is_int_in_range

MANIFEST_NAME = "manifest.json"

BOX_ORIGINS = ("found", "given")
"""Who chose the boxes: the extractor, or the user."""


@dataclass(frozen=True)
class StoreManifest:
    """Properties shared by all images of a store.

    Attributes:
        feature_dim: number of features per object D.
        feature_dtype: "float32", or "float16" for half the space at a relative error of 2⁻¹¹.
        extractor: identity of what made the features; `Regions.extractor` of every image.
        description: the extractor's specification for `build_extractor`, if known.
        object_names: name of each object class, if known.
        attribute_names: name of each attribute, if known.
        boxes: "found" where the extractor chose the boxes, "given" where the user did; None if unknown,
            as for imported features.

    Raises:
        DataError: a width below 1, an unknown dtype, no extractor, or an unknown origin of boxes.
    """

    feature_dim: int
    feature_dtype: str
    extractor: str
    description: Mapping[str, Any] | None = None
    object_names: tuple[str, ...] | None = None
    attribute_names: tuple[str, ...] | None = None
    boxes: str | None = None

    def __post_init__(self) -> None:
        if not is_int_in_range(self.feature_dim, 1):
            raise DataError(f"feature_dim is {self.feature_dim!r}; expected a whole number of at least 1")
        if self.feature_dtype not in DTYPES:
            raise DataError(f"feature_dtype is {self.feature_dtype!r}; expected {' or '.join(DTYPES)}")
        if not isinstance(self.extractor, str) or not self.extractor:
            raise DataError(f"extractor is {self.extractor!r}; expected the name of what made the features")
        if self.boxes not in (None, *BOX_ORIGINS):
            raise DataError(f"boxes are {self.boxes!r}; expected {' or '.join(BOX_ORIGINS)}")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the manifest of a store.

        Raises:
            DataError: there is no store, the manifest is malformed, or the format is not this version's.
        """
        path = folder / MANIFEST_NAME
        if folder.is_file():
            raise DataError(
                f"{folder}: a file, expected the folder of a feature store; `lxmert features import` makes "
                "one of a TSV file"
            )
        if not folder.is_dir():
            raise DataError(
                f"{folder}: no such feature store; create one with `lxmert extract` or `lxmert features "
                "import`"
            )
        if not path.is_file():
            raise DataError(f"{folder}: not a feature store, it has no {MANIFEST_NAME}")
        manifest = JsonRecord(read_json(path), path)
        if manifest.get("format", str) != FORMAT_NAME:
            raise DataError(f"{path}: format is {manifest.value['format']!r}, expected {FORMAT_NAME!r}")
        if (version := manifest.get("version", int)) != FORMAT_VERSION:
            raise DataError(
                f"{path}: format version {version}, but this version of lxmert reads {FORMAT_VERSION}; "
                f"use the version of lxmert that created it ({manifest.value.get('made_by', 'unknown')}) "
                "or a newer one"
            )
        try:
            return cls(
                feature_dim=manifest.get("feature_dim", int),
                feature_dtype=manifest.get("feature_dtype", str),
                extractor=manifest.get("extractor", str),
                description=manifest.optional("description", dict),
                object_names=_names(manifest, "object_names"),
                attribute_names=_names(manifest, "attribute_names"),
                boxes=manifest.optional("boxes", str),
            )
        except DataError as error:
            raise error if str(path) in str(error) else DataError(f"{path}: {error}") from error

    def write_if_absent(self, folder: Path) -> bool:
        """Write the manifest unless there is one; returns whether it was written.

        The file appears complete or not at all, and only once, however many processes try.
        """
        path = folder / MANIFEST_NAME
        content = {
            "format": FORMAT_NAME,
            "version": FORMAT_VERSION,
            "made_by": f"lxmert {__version__}",
            **asdict(self),
        }
        # Not by the process id, which another machine may use too.
        partial = folder / f"{MANIFEST_NAME}.{uuid.uuid4().hex[:8]}.partial"
        with add_folder_to_errors(folder), partial.open("x", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=1, ensure_ascii=True) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            # A hard link, because it fails where the name exists; renaming would replace another's manifest.
            os.link(partial, path)
        except FileExistsError:
            return False
        except OSError:  # A file system without hard links.
            if path.exists():
                return False
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        fsync_folder(folder)
        return True

    def differences(self, other: "StoreManifest") -> list[str]:
        """The points in which features of `other` do not fit this store, as readable lines."""
        fields = ["extractor", "feature_dim", "feature_dtype"]
        if None not in (self.boxes, other.boxes):  # None: unknown, as in imported files.
            fields.append("boxes")
        return [
            f"{name} {getattr(self, name)!r}, not {getattr(other, name)!r}"
            for name in fields
            if getattr(self, name) != getattr(other, name)
        ]


@contextmanager
def add_folder_to_errors(folder: Path) -> Iterator[None]:
    """Add the folder to errors of a full or broken disk: errors of `write` itself name no file."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(folder)
        raise


def _names(record: JsonRecord, key: str) -> tuple[str, ...] | None:
    names = record.optional(key, list)
    if names is not None and not all(isinstance(name, str) for name in names):
        raise DataError(f"{record.path}: {key} contains a value that is not a name")
    return None if names is None else tuple(names)
