"""Locks on files, which the operating system releases when the process that holds them dies."""

import errno
import sys


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
