"""One writer per rank: a lock that the operating system releases when its process dies."""

import os
from pathlib import Path

from lxmert.errors import DataError
from lxmert.locks import try_lock


class RankLock:
    """Held while a process writes to a store under `rank`.

    On Windows, and on network file systems without locks, a second writer goes unnoticed.

    Raises:
        DataError: another process holds it.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self._descriptor = os.open(folder / f"rank-{rank:05d}.lock", os.O_RDWR | os.O_CREAT, 0o666)
        if not try_lock(self._descriptor, is_inherited=True):
            self.release()
            raise DataError(
                f"{folder}: another process is writing to this store as rank {rank}; wait for it, or stop it"
            )

    def release(self) -> None:
        """Release the lock; further calls do nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
