"""Locks on files and folders, which the operating system releases when the process that holds them dies."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lxmert.errors import DataError


def try_lock(descriptor: int, *, is_inherited: bool) -> bool:
    """Lock an open file until it is closed, without waiting.

    On Windows, and on network file systems without locks, other holders go undetected.

    Args:
        descriptor: of a file that is open for writing.
        is_inherited: True for a lock that forked processes hold too, and that also excludes other
            descriptors of the same process; False for one released when this process ends, even if
            processes that it forked live on.

    Returns:
        False if another holds it.
    """
    if sys.platform == "win32":
        return True
    import fcntl

    lock = fcntl.flock if is_inherited else fcntl.lockf
    try:
        lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


class RankLock:
    """Held while a process writes to a folder under `rank`: one writer per rank.

    On Windows, and on network file systems without locks, a second writer goes unnoticed.

    Raises:
        DataError: another process holds it.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self._descriptor = os.open(folder / f"rank-{rank:05d}.lock", os.O_RDWR | os.O_CREAT, 0o666)
        if not try_lock(self._descriptor, is_inherited=True):
            self.release()
            raise DataError(
                f"{folder}: another process is writing to this folder as rank {rank}; wait for it, or stop it"
            )

    def release(self) -> None:
        """Release the lock; further calls do nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a folder against other processes that do so, without a file in it.

    On Windows, and on network file systems without locks for folders, another process goes unnoticed.

    Raises:
        DataError: another process holds it.
    """
    if sys.platform == "win32":  # Windows cannot open folders.
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not try_lock(descriptor, is_inherited=True):
            raise DataError(f"{folder}: another process is writing to this folder; wait for it, or stop it")
        yield
    finally:
        os.close(descriptor)
