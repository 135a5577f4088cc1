"""Memory that training frees and takes again in every step stays with the process."""

import ctypes
import sys

# From <malloc.h>: how much freed memory at the top of the heap goes back, and from which size on memory is
# mapped for itself and goes back at once.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed, rather than give it back and have it zeroed page by page again.

    A setting of the whole process, for good: what it took at its peak it holds until it ends.

    Returns:
        True where it was set; False with a C library other than GNU's, which is left as it is.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    was_set = [library.mallopt(option, _NEVER) == 1 for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD)]
    return all(was_set)
