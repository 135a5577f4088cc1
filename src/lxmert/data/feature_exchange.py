"""Import of original feature files into stores, and export of stores as such files."""

from dataclasses import dataclass
from pathlib import Path

from lxmert.atomic_files import open_atomic
from lxmert.data.feature_store import FeatureStore, FeatureStoreWriter, StoreManifest, encode_image
from lxmert.data.feature_store.layout import LABELS
from lxmert.data.feature_store.manifest import MANIFEST_NAME
from lxmert.data.feature_store.skipped import SkippedImage, SkippedList
from lxmert.data.feature_tsv import FIELDS, IMPORTED_EXTRACTOR, TsvLine, format_row, parse_row, read_lines
from lxmert.data.progress import Advance
from lxmert.errors import DataError, RegionsError


@dataclass(frozen=True)
class ImportReport:
    """The result of an import.

    Attributes:
        added: number of images added to the store.
        found: number of images that the store had before.
        repeated: number of rows whose image is in an earlier row, which is the one that counts.
        corrupt: the rows that were left out.
    """

    added: int
    found: int
    repeated: int
    corrupt: list[SkippedImage]


def import_tsv(
    path: Path,
    store: Path,
    *,
    extractor: str = IMPORTED_EXTRACTOR,
    dtype: str | None = None,
    skip_corrupt: bool = False,
    advance: Advance = lambda step: None,
) -> ImportReport:
    """Append the images of a feature file to a store, except those that it already has.

    Args:
        path: the feature file.
        store: folder of the store, new or existing.
        extractor: identity of what made the features.
        dtype: "float32" or "float16"; None takes an existing store's, else "float32".
        skip_corrupt: leave corrupt rows out and list them, instead of stopping at the first.
        advance: called with the number of bytes just read.

    Raises:
        DataError: a corrupt row, named with its line; no row at all; a store of other features.
    """
    manifest = _manifest(path, store, extractor, dtype, skip_corrupt)
    added = found = repeated = 0
    seen: set[str] = set()
    with FeatureStoreWriter(store, manifest) as writer:
        corrupt = SkippedList(store)
        for line in read_lines(path):
            advance(len(line.content) + 1)
            name = line.name
            if name in seen:
                repeated += 1
            elif name in writer:
                found += 1
                seen.add(name)
            else:
                try:
                    row = parse_row(line.content, extractor, manifest.feature_dim)
                    image = encode_image(name, row.regions, writer.manifest, row.unclamped_boxes)
                except (DataError, RegionsError) as error:
                    corrupt.add(_skip_or_raise(path, line, error, skip_corrupt))
                    continue
                writer.append(image)
                added += 1
                seen.add(name)
    return ImportReport(added, found, repeated, corrupt.items)


def export_tsv(store: FeatureStore, path: Path, advance: Advance = lambda images: None) -> int:
    """Write a store as a feature file, in the store's order; the file appears only when complete.

    Args:
        store: the store; float16 features are written as float32 of the same value.
        path: the file.
        advance: called with the number of images just written.

    Returns:
        The number of images that lack some labels, which are written as zeros.

    Raises:
        DataError: an image's name holds a tab or a line end, or the file cannot be written.
    """
    unlabelled = 0
    try:
        with open_atomic(path) as file:
            for position in range(len(store)):
                arrays = store.arrays_at(position)
                file.write(format_row(store.name_at(position), arrays))
                unlabelled += any(getattr(arrays, label) is None for label in LABELS)
                advance(1)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error
    return unlabelled


def _manifest(
    path: Path, store: Path, extractor: str, dtype: str | None, skip_corrupt: bool
) -> StoreManifest:
    """The manifest that the store must have, from its own, if any, and the first sound row."""
    existing = StoreManifest.read(store) if (store / MANIFEST_NAME).exists() else None
    for line in read_lines(path):
        try:
            row = parse_row(line.content, extractor)
        except (DataError, RegionsError) as error:
            _skip_or_raise(path, line, error, skip_corrupt)
            continue
        if len(row.regions):
            stored = dtype or (existing.feature_dtype if existing else "float32")
            return StoreManifest(row.regions.feature_dim, stored, extractor)
    raise DataError(f"{path}: no valid row with a box; expected {len(FIELDS)} tab-separated fields per line")


def _skip_or_raise(path: Path, line: TsvLine, error: Exception, skip_corrupt: bool) -> SkippedImage:
    where = f"{path}: line {line.number}"
    if not skip_corrupt:
        raise DataError(f"{where}: {error} (use --skip-corrupt to skip such rows and list them)") from error
    return SkippedImage(line.name[:200], where, str(error))
