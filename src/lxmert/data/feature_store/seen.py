"""`rank-RRRRR.seen` beside a store: fingerprints of files that need not be read again to be known.

Eight bytes for each file: a hash of its fingerprint and of what the file system says of it. A file without is
read, so the list may be lost, cut off or out of date.
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
    """What all writers noted, to which this one adds. Use as a context manager; threads may share it.

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
        # Unbuffered: what is noted survives the death of this process.
        self._file: IO[bytes] = path.open("ab", buffering=0)
        self._file.truncate(path.stat().st_size // _BYTES * _BYTES)  # A killed run may have cut one off.

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def fingerprint(self, path: Path, before: int = 0) -> int:
        """`fingerprint_of_file`; the file is not read where it is known to have that of `before` still."""
        state = _state_of_file(
            path
        )  # Before it is read: of a file that is written to meanwhile the older one.
        if before and _hash(before, state) in self._known:
            return before
        now = fingerprint_of_file(path)
        if now and state and (seen := _hash(now, state)) not in self._known:
            self._known.add(seen)
            with writing_into(self._folder):
                self._file.write(seen)
        return now


def _state_of_file(path: Path) -> bytes:
    """What changes whenever a file is written to or another takes its place; empty where there is none."""
    try:
        told = os.stat(path)
    except (OSError, ValueError):  # The latter of a path with a zero byte in it.
        return b""
    # The time of the last change of the entry too: copies and archives keep that of the content.
    return struct.pack("<QQqq", told.st_ino & _LARGEST, told.st_size, told.st_mtime_ns, told.st_ctime_ns)


def _hash(fingerprint: int, state: bytes) -> bytes:
    return blake2b(struct.pack("<I", fingerprint) + state, digest_size=_BYTES).digest()
