"""`rank-RRRRR.seen` in a store: a record of image files that need not be read again for their fingerprints.

Each file has eight bytes: a hash of its fingerprint and its file system status. A file without a record is
read, so the list may be lost, truncated or out of date.
"""

import os
import struct
from hashlib import blake2b
from pathlib import Path
from typing import IO, Self

from lxmert.data.feature_store.layout import fingerprint_of_file
from lxmert.data.feature_store.manifest import writing_into

_BYTES = 8
_LARGEST = 2**64 - 1


class SeenFiles:
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
            self._known.update(content[at : at + _BYTES] for at in range(0, len(content), _BYTES))
        path = folder / f"rank-{rank:05d}.seen"
        # Unbuffered: a record survives the death of this process.
        self._file: IO[bytes] = path.open("ab", buffering=0)
        self._file.truncate(
            path.stat().st_size // _BYTES * _BYTES
        )  # A killed run may have left half a record.

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def fingerprint(self, path: Path, before: int = 0) -> int:
        """`fingerprint_of_file`; the file is not read if its fingerprint is known to be `before` still."""
        # Taken before reading: the state of a file that is written to meanwhile is then outdated.
        state = _state_of_file(path)
        if before and _hash(before, state) in self._known:
            return before
        now = fingerprint_of_file(path)
        if now and state and (seen := _hash(now, state)) not in self._known:
            self._known.add(seen)
            with writing_into(self._folder):
                self._file.write(seen)
        return now


def _state_of_file(path: Path) -> bytes:
    """The file's status, which changes whenever it is written to or replaced; empty if there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a path with a zero byte.
        return b""
    # The inode's change time too, because copies and archives preserve the modification time.
    return struct.pack(
        "<QQqq", status.st_ino & _LARGEST, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


def _hash(fingerprint: int, state: bytes) -> bytes:
    return blake2b(struct.pack("<I", fingerprint) + state, digest_size=_BYTES).digest()
