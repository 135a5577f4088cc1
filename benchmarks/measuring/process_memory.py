"""Memory use of a process, as reported by Linux."""

import re
from pathlib import Path


def peak_bytes() -> int:
    """Return the peak resident memory of this program (VmHWM).

    Not ru_maxrss, which includes the peak of the process that started this program.
    """
    return _status("VmHWM")


def current_bytes() -> int:
    """Return the current resident memory of this process, including shared pages (VmRSS)."""
    return _status("VmRSS")


def private_bytes() -> int:
    """Return the memory that this process shares neither with other processes nor with files."""
    text = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    return int(re.findall(r"^Private_Dirty:\s+(\d+) kB", text, re.MULTILINE)[0]) * 1024


def _status(field: str) -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)[0]) * 1024
