"""`rank-RRRRR.seen` in a store: a record of image files that need not be read again for their fingerprints.

Each record is eight bytes: a hash of its fingerprint and its file system status. A file without a record is
read, so the cache may be lost, truncated or out of date.
"""

import os
import struct
from hashlib import blake2b
from pathlib import Path
from typing import IO, Self

from lxmert.data.feature_store.layout import fingerprint_of_file
from lxmert.data.feature_store.manifest import add_folder_to_errors

_RECORD_BYTES = 8
_MAX_UINT64 = 2**64 - 1


class FingerprintCache:
    """The records of all writers, to which this one adds. Use as a context manager; threads may share it.

    Args:
        folder: the store's folder.
        rank: number of this writer.
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self._folder = folder
        self._known: set[bytes] = set()
        for path in folder.glob("rank-*.seen"):
            content = path.read_bytes()
            self._known.update(
                content[at : at + _RECORD_BYTES] for at in range(0, len(content), _RECORD_BYTES)
            )
        path = folder / f"rank-{rank:05d}.seen"
        # Unbuffered: a record survives the death of this process.
        self._file: IO[bytes] = path.open("ab", buffering=0)
        # A killed run may have left half a record.
        self._file.truncate(path.stat().st_size // _RECORD_BYTES * _RECORD_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def fingerprint(self, path: Path, cached: int = 0) -> int:
        """`fingerprint_of_file`; the file is not read if its fingerprint is known to be `cached` still."""
        # Taken before reading: the status of a file that is written to meanwhile is then outdated.
        status = _file_status(path)
        if cached and _hash(cached, status) in self._known:
            return cached
        current = fingerprint_of_file(path)
        if current and status and (record := _hash(current, status)) not in self._known:
            self._known.add(record)
            with add_folder_to_errors(self._folder):
                self._file.write(record)
        return current


def _file_status(path: Path) -> bytes:
    """The file's status, which changes whenever it is written to or replaced; empty if there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a path with a zero byte.
        return b""
    # The inode's change time too, because copies and archives preserve the modification time.
    return struct.pack(
        "<QQqq", status.st_ino & _MAX_UINT64, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


def _hash(fingerprint: int, status: bytes) -> bytes:
    return blake2b(struct.pack("<I", fingerprint) + status, digest_size=_RECORD_BYTES).digest()
