"""`keep_freed_memory`, a setting of the C library's allocator, in a process of its own."""

import subprocess
import sys

import pytest

from lxmert.training.cpu.memory import keep_freed_memory

SCRIPT = """
import ctypes, resource
from lxmert.training.cpu.memory import keep_freed_memory

library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]


def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        block = library.malloc(64 * 2**20)
        library.memset(block, 1, 64 * 2**20)
        library.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


given_back = faults()
print(keep_freed_memory(), given_back, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of GNU's C library")
def test_freed_memory_is_reused_without_new_page_faults() -> None:
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    was_set, given_back, kept = ran.stdout.split()
    if was_set == "False":
        pytest.skip("another C library")
    # 64 MiB are 16,384 pages of 4 KiB.
    assert int(given_back) > 3 * 16_384
    assert int(kept) < 2 * 16_384


def test_keep_freed_memory_does_nothing_on_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
