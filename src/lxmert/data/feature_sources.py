"""Features read by image name, from a store or an original feature file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from lxmert.data.feature_store import FeatureStore
from lxmert.data.feature_tsv import FIELDS, looks_like_row, parse_row, read_lines
from lxmert.errors import DataError, LxmertError
from lxmert.vision.regions import Regions


class FeatureSource(Protocol):
    """Regions by the name of their image."""

    @property
    def names(self) -> Sequence[str]:
        """All names."""
        ...

    def __getitem__(self, name: str) -> Regions:
        """The regions of one image."""
        ...


class TsvSource:
    """A feature file as a `FeatureSource`: only the offsets of its rows are kept in memory.

    Raises:
        DataError: no such file, or no line in it that could be a row.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._row_locations: dict[str, tuple[int, int, int]] = {}
        has_rows = False
        for line in read_lines(path):
            self._row_locations.setdefault(line.name, (line.number, line.offset, len(line.content)))
            has_rows = has_rows or looks_like_row(line.content)
        if not has_rows:
            raise DataError(
                f"{path}: neither a feature store nor a feature file; no line is a row of "
                f"{len(FIELDS)} tab-separated fields"
            )

    @property
    def names(self) -> Sequence[str]:
        """All names, in the file's order."""
        return tuple(self._row_locations)

    def __getitem__(self, name: str) -> Regions:
        """The regions of one image.

        Raises:
            DataError: its row is corrupt.
        """
        number, offset, size = self._row_locations[name]
        with self._path.open("rb") as file:
            file.seek(offset)
            try:
                return parse_row(file.read(size)).regions
            except LxmertError as error:
                raise DataError(f"{self._path}: line {number}: {error}") from error


def open_source(path: Path) -> FeatureSource:
    """Open a store's folder or a feature file."""
    return TsvSource(path) if path.is_file() else FeatureStore(path)
