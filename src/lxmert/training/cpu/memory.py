"""Keeping the memory that training frees and allocates again in every step."""

import ctypes
import sys

# From <malloc.h>: how much freed memory at the top of the heap is returned to the system, and from which size
# on memory is mapped separately and returned at once.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Make the C library keep freed memory, rather than return it and have it zeroed page by page again.

    A permanent setting of the whole process, which then holds its peak memory until it ends.

    Returns:
        True if it was set; False with a C library other than GNU's, which is left unchanged.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    was_set = [library.mallopt(option, _NEVER) == 1 for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD)]
    return all(was_set)
