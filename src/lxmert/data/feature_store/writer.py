"""Appending images to a feature store, safe against being killed at any moment.

The order of writing and the policy of forcing bytes to the disk are described in docs/features.md.
"""

import os
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Self

from lxmert.atomic_files import fsync_folder
from lxmert.data.feature_store.encoding import EncodedImage, encode_image
from lxmert.data.feature_store.layout import (
    ENTRY_BYTES,
    PartFiles,
    list_parts,
    name_from_bytes,
    name_to_bytes,
)
from lxmert.data.feature_store.manifest import MANIFEST_NAME, StoreManifest, add_folder_to_errors
from lxmert.data.feature_store.parts import Extent, measure_extent, truncate_part
from lxmert.data.feature_store.reader import FeatureStore
from lxmert.errors import DataError
from lxmert.locks import RankLock
from lxmert.vision.regions import Regions

PART_BYTES = 4_000_000_000
"""A data file is closed before it grows beyond this: every file system and hub accepts such files."""

SYNC_SECONDS = 5.0
SYNC_BYTES = 64 * 2**20
"""At most this much work is lost, and must be checked, after a power failure."""

_KINDS = ("data", "names", "index")


class FeatureStoreWriter:
    """Appends images to a new or existing store. Use as a context manager.

    Several processes may write to one store at the same time, each under its own rank.

    Args:
        path: the store's folder; new, empty or a store.
        manifest: properties shared by all its images; must fit an existing store.
        rank: this writer's number among concurrent writers.
        part_bytes: a data file is closed before it grows beyond this.

    Attributes:
        existing: the store as it was when this writer opened it.

    Raises:
        DataError: the folder holds something else, or a store of another extractor, width, dtype or
            origin of boxes, or another process writes under this rank.
    """

    def __init__(
        self, path: str | Path, manifest: StoreManifest, *, rank: int = 0, part_bytes: int = PART_BYTES
    ) -> None:
        self.path = Path(path)
        self.rank = rank
        self.manifest, self._is_new = _open_folder(self.path, manifest)
        self._part_bytes = part_bytes
        self._lock = RankLock(self.path, rank)
        self._files: dict[str, IO[bytes]] = {}
        self._extent = Extent()
        self._part = PartFiles(self.path, rank, 0)
        self._unsynced_bytes = 0
        self._synced_at = time.monotonic()
        try:
            number, extent = self._resume()
            self._open_part(number, extent)
            self.existing = FeatureStore(self.path)
        except BaseException:
            self.close()
            raise
        self._added: set[bytes] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __contains__(self, name: str) -> bool:
        """Whether the store has an image of this name, as far as this writer knows."""
        return name in self.existing or name_to_bytes(name) in self._added

    def fingerprint(self, name: str) -> int:
        """Fingerprint of the file of an image that was there before this writer; 0 if unknown."""
        position = self.existing.find(name)
        return 0 if position is None else self.existing.fingerprint_at(position)

    def __len__(self) -> int:
        """Number of images, as far as this writer knows."""
        return len(self.existing) + len(self._added)

    def add(self, name: str, regions: Regions) -> None:
        """Append one image.

        Raises:
            DataError: the name is taken, or is not a valid name.
            RegionsError: the regions do not fit the store; see `encode_image`.
        """
        self.append(encode_image(name, regions, self.manifest))

    def append(self, image: EncodedImage) -> None:
        """Append an image encoded by `encode_image`, perhaps in another process.

        Raises:
            DataError: the name is taken.
            OSError: the disk is full or gone; the store is unchanged, and this image may be tried again.
        """
        if name_from_bytes(image.name) in self:
            raise DataError(f"{self.path}: the image {name_from_bytes(image.name)!r} is already in the store")
        if self._extent.images and self._extent.next_data_offset + len(image.record) > self._part_bytes:
            self._sync()
            self._open_part(self._part.part + 1, Extent())
        extent = self._extent
        entry = image.entry(extent.next_data_offset, extent.names_end)
        # The entry comes last: without it the image does not exist, and the next one overwrites its bytes.
        padding = bytes(extent.next_data_offset - extent.data_end)
        with add_folder_to_errors(self.path):
            _write_at(self._files["data"], extent.data_end, padding + image.record)
            _write_at(self._files["names"], extent.names_end, image.name + b"\n")
            _write_at(self._files["index"], extent.images * ENTRY_BYTES, entry.pack())
        self._extent = extent.after(entry)
        self._added.add(image.name)
        self._unsynced_bytes += len(image.record)
        if self._unsynced_bytes >= SYNC_BYTES or time.monotonic() - self._synced_at >= SYNC_SECONDS:
            self._sync()

    def close(self) -> None:
        """Sync everything to the disk and release the rank; further calls do nothing."""
        try:
            if self._files:
                self._sync()
        finally:
            self._close_files()
            self._lock.release()

    def discard_if_empty(self) -> None:
        """Delete the store if this writer created it and added no image.

        No other writer may be running.
        """
        if not self._is_new or len(self):
            return
        self._close_files()
        self._lock.release()  # Windows deletes no open file.
        discard_store(self.path)

    def _close_files(self) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}

    def _resume(self) -> tuple[int, Extent]:
        own_parts = [files.part for files in list_parts(self.path) if files.rank == self.rank]
        if not own_parts:
            return 0, Extent()
        files = PartFiles(self.path, self.rank, own_parts[-1])
        extent = measure_extent(files, self.manifest)
        truncate_part(files, extent)
        return own_parts[-1], extent

    def _open_part(self, number: int, extent: Extent) -> None:
        part = PartFiles(self.path, self.rank, number)
        with ExitStack() as opened:  # If one cannot be opened, the previous part stays open.
            files = {kind: opened.enter_context(_open(part.path(kind))) for kind in _KINDS}
            opened.pop_all()
        self._close_files()
        self._files, self._part, self._extent = files, part, extent
        fsync_folder(self.path)
        self._sync()

    def _sync(self) -> None:
        path = self._part.path("synced")
        partial = path.with_suffix(".synced-partial")
        with add_folder_to_errors(self.path):
            for kind in _KINDS:  # In this order, so that the numbers of every synced entry are synced.
                os.fsync(self._files[kind].fileno())
            with partial.open("w", encoding="ascii") as file:
                file.write(f"{self._extent.images}\n")
                file.flush()
                os.fsync(file.fileno())  # Else a power failure may leave an empty file under the final name.
        os.replace(partial, path)
        self._unsynced_bytes = 0
        self._synced_at = time.monotonic()


def discard_store(folder: Path) -> None:
    """Delete a store that nobody writes to, and its folder if nothing else is in it."""
    # In this order, so that an interruption leaves a store that can be continued.
    for pattern in ("skipped*.jsonl", "rank-*.synced", "rank-*", MANIFEST_NAME):
        for path in folder.glob(pattern):
            path.unlink()
    with suppress(OSError):  # Something else is in it.
        folder.rmdir()


def _open_folder(folder: Path, manifest: StoreManifest) -> tuple[StoreManifest, bool]:
    """Create the store, or check that it fits the manifest; returns its manifest and whether it is new."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; choose a folder for the feature store")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / MANIFEST_NAME).exists():
        other_files = [path.name for path in folder.iterdir() if not path.name.startswith(MANIFEST_NAME)]
        if other_files and not (folder / MANIFEST_NAME).exists():
            raise DataError(
                f"{folder}: contains {min(other_files)!r} and is not a feature store; choose a new or empty "
                "folder"
            )
        if manifest.write_if_absent(folder):
            return manifest, True
    existing = StoreManifest.read(folder)
    if faults := existing.differences(manifest):
        raise DataError(
            f"{folder}: this store has {'; '.join(faults)}; continue it with the same settings, or create "
            "another store"
        )
    return existing, False


def _open(path: Path) -> IO[bytes]:
    # Unbuffered: whatever `write` accepted survives the death of this process.
    return path.open("r+b" if path.exists() else "w+b", buffering=0)


def _write_at(file: IO[bytes], offset: int, data: bytes) -> None:
    file.seek(offset)
    remaining = memoryview(data)
    while remaining:
        remaining = remaining[file.write(remaining) :]
