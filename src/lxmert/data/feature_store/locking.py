"""One writer per rank: a lock that the operating system gives free when its process dies."""

import os
import sys
from pathlib import Path

from lxmert.errors import DataError


class RankLock:
    """Held while a process writes to a store under `rank`.

    On Windows, and on network file systems without locks, a second writer is not noticed.

    Raises:
        DataError: another process holds it.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self._descriptor = os.open(folder / f"rank-{rank:05d}.lock", os.O_RDWR | os.O_CREAT, 0o666)
        if not _lock(self._descriptor):
            self.release()
            raise DataError(
                f"{folder}: another process is writing to this store as rank {rank}; wait for it, or end it"
            )

    def release(self) -> None:
        """Give it free; further calls do nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _lock(descriptor: int) -> bool:
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
